"""The error metrics of dcgm-exporter, of GPUs of which some are not healthy.

Names, types and help texts are those of ``etc/default-counters.csv``, which comments most of them out; texts of Xids
those of the exporter's table. In a run without faults that happen every value is 0, and only the default is written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Final, TypeAlias

from accelerate_sim.records import DeviceRecord

Samples: TypeAlias = tuple[str, str, str, Iterable[object]]
"""Name, type and help of a metric, and its value for each GPU."""
NO_ERROR = 'err_code="0",err_msg="No Error"'
XID_TEXTS: Final = {
    13: "Graphics Engine Exception",
    31: "GPU memory page fault",
    43: "GPU stopped processing",
    45: "Preemptive cleanup, due to previous errors -- Most likely to see when running multiple cuda",
    48: "Double Bit ECC Error",
    63: "ECC page retirement or row remapping recording event",
    64: "ECC page retirement or row remapper recording failure",
    74: "NVLINK Error",
    79: "GPU has fallen off the bus",
    92: "High single-bit ECC error rate",
    94: "Contained ECC error",
    95: "Uncontained ECC error",
    109: "Context Switch Timeout Error",
    119: "GSP RPC Timeout",
    120: "GSP Error",
    140: "Unrecovered ECC Error",
    143: "GPU Initialization Failure",
    144: "NVLINK: Saw Error",
    145: "NVLINK: RLW Error",
    146: "NVLINK: TLW Error",
    147: "NVLINK: TREX Error",
    148: "NVLINK: NVLPW_CTRL Error",
    149: "NVLINK: NETIR Error",
    150: "NVLINK: MSE Error",
    154: "GPU Recovery Action Changed",
}
COUNTERS: Final = (
    ("DCGM_FI_DEV_POWER_VIOLATION", "Throttling duration due to power constraints (in us).", "power_us"),
    ("DCGM_FI_DEV_THERMAL_VIOLATION", "Throttling duration due to thermal constraints (in us).", "thermal_us"),
    ("DCGM_FI_DEV_BOARD_LIMIT_VIOLATION", "Throttling duration due to board limit constraints (in us).", "brake_us"),
    ("DCGM_FI_DEV_ECC_SBE_VOL_TOTAL", "Total number of single-bit volatile ECC errors.", "volatile.corrected"),
    ("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", "Total number of double-bit volatile ECC errors.", "volatile.uncorrected"),
    ("DCGM_FI_DEV_ECC_SBE_AGG_TOTAL", "Total number of single-bit persistent ECC errors.", "aggregate.corrected"),
    ("DCGM_FI_DEV_ECC_DBE_AGG_TOTAL", "Total number of double-bit persistent ECC errors.", "aggregate.uncorrected"),
    ("DCGM_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL", "Total number of NVLink flow-control CRC errors.",
     "nvlink_crc_errors"),
    ("DCGM_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_TOTAL", "Total number of NVLink data CRC errors.", "nvlink_crc_errors"),
    ("DCGM_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL", "Total number of NVLink retries.", "nvlink_replays"),
    ("DCGM_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL", "Total number of NVLink recovery errors.",
     "nvlink_recoveries"),
)  # fmt: skip
"""Name, help text, and the figure of a condition."""
GAUGES: Final = (
    ("DCGM_FI_DEV_CLOCK_THROTTLE_REASONS", "Current clock throttle reasons (bitmask of NVML).", "reasons"),
    ("DCGM_FI_DEV_ROW_REMAP_PENDING", "Whether remapping of rows is pending", "remapping_pending"),
)


def of_each(devices: DeviceRecord, figure: str) -> list[int]:
    """A figure of the condition of each GPU; 0 for healthy ones."""
    values = [0] * len(devices.identities)
    get = attrgetter(figure)
    for rank, condition in (devices.conditions or {}).items():
        values[rank] = int(get(condition))
    return values


def xids(devices: DeviceRecord) -> list[int]:
    """The latest Xid of each GPU."""
    return of_each(devices, "xid")


def xid_labels(devices: DeviceRecord, healthy: Sequence[str]) -> Sequence[str]:
    """The labels of the latest Xid of each GPU, from those of healthy ones."""
    if not devices.conditions:
        return healthy
    labels = list(healthy)
    for rank, condition in devices.conditions.items():
        if condition.xid:
            text = XID_TEXTS.get(condition.xid, "Unknown Error")
            labels[rank] = labels[rank].replace(NO_ERROR, f'err_code="{condition.xid}",err_msg="{text}"')
    return labels


def lost_gpus(devices: DeviceRecord) -> Collection[int]:
    """Ranks of GPUs that cannot be read, whose series vanish."""
    return {rank for rank, each in (devices.conditions or {}).items() if each.lost or each.unreadable or each.library}


def error_samples(devices: DeviceRecord) -> Iterator[Samples]:
    """The metrics that the exporter writes beyond its default."""
    for name, meaning, figure in COUNTERS:
        yield name, "counter", meaning, of_each(devices, figure)
    for name, meaning, figure in GAUGES:
        yield name, "gauge", meaning, of_each(devices, figure)
