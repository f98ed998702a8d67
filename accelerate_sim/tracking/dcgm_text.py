"""GPU metrics as dcgm-exporter writes them: its names, types, help texts and labels, in its order.

The metrics are its default counters (4.5: ``etc/default-counters.csv``). The text is made here because client libraries
sort labels. The host's name is given as both labels that versions of the exporter use. Errors and retries are 0 but
in a run in which faults happen; there the counters that the default comments out are written, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from accelerate_sim.records import DeviceIdentity, DeviceRecord
from accelerate_sim.tracking.dcgm_errors import Samples, error_samples, lost_gpus, of_each, xid_labels, xids

XID = "DCGM_FI_DEV_XID_ERRORS"


def escaped(text: str) -> str:
    """Escape a label's value for the text format."""
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def family(name: str, kind: str, meaning: str, samples: Iterable[tuple[str, object]]) -> list[str]:
    """The lines of one metric."""
    return [
        f"# HELP {name} {meaning}", f"# TYPE {name} {kind}", *[f"{name}{labels} {value}" for labels, value in samples]
    ]  # fmt: skip


class DeviceText:
    """Makes the text, and keeps the labels, which are the same in every scrape while no machine changes its driver."""

    def __init__(self) -> None:
        self._identities: tuple[DeviceIdentity, ...] | None = None
        self._drivers: dict[int, str] = {}
        self._labels: list[str] = []
        self._labels_of_xid: list[str] = []

    def lines(self, devices: DeviceRecord) -> Iterator[str]:
        drivers = {rank: each.driver for rank, each in (devices.conditions or {}).items() if each.driver}
        if devices.identities is not self._identities or drivers != self._drivers:
            self._identities, self._drivers = devices.identities, drivers
            plain = list(_labels(devices, drivers))
            self._labels = [f"{{{labels}}}" for labels in plain]
            self._labels_of_xid = [f'{{{labels},err_code="0",err_msg="No Error"}}' for labels in plain]
        lost = lost_gpus(devices)
        labels_of_xid = xid_labels(devices, self._labels_of_xid)
        for name, kind, meaning, values in _samples(devices):
            samples = zip(labels_of_xid if name == XID else self._labels, values, strict=True)
            # The latest Xid is an event that stays known, while a GPU that is gone cannot be read.
            kept = samples if name == XID or not lost else (each for k, each in enumerate(samples) if k not in lost)
            yield from family(name, kind, meaning, kept)


def _labels(devices: DeviceRecord, drivers: Mapping[int, str]) -> Iterator[str]:
    product = escaped(devices.product)
    for rank, each in enumerate(devices.identities):
        host = escaped(each.host)
        yield (
            f'gpu="{each.index}",UUID="{each.uuid}",pci_bus_id="{each.bus_id}",device="nvidia{each.index}",'
            f'modelName="{product}",Hostname="{host}",hostname="{host}",'
            f'DCGM_FI_DRIVER_VERSION="{drivers.get(rank, devices.driver_version)}"'
        )


def _samples(devices: DeviceRecord) -> Iterator[Samples]:
    number = len(devices.identities)
    nothing = [0] * number

    def same(value: object) -> list[object]:
        return [value] * number

    yield "DCGM_FI_DEV_SM_CLOCK", "gauge", "SM clock frequency (in MHz).", devices.sm_clock_mhz.tolist()
    yield "DCGM_FI_DEV_MEM_CLOCK", "gauge", "Memory clock frequency (in MHz).", same(devices.memory_clock_mhz)
    memory_c = devices.memory_temperature_c.tolist()
    yield "DCGM_FI_DEV_MEMORY_TEMP", "gauge", "Memory temperature (in C).", memory_c
    yield "DCGM_FI_DEV_GPU_TEMP", "gauge", "GPU temperature (in C).", devices.temperature_c.tolist()
    yield "DCGM_FI_DEV_POWER_USAGE", "gauge", "Power draw (in W).", devices.power_w.tolist()
    energy_mj = (devices.energy_j * 1000).astype(int).tolist()
    yield "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "counter", "Total energy consumption since boot (in mJ).", energy_mj
    yield (
        "DCGM_FI_DEV_PCIE_REPLAY_COUNTER",
        "counter",
        "Total number of PCIe retries.",
        of_each(devices, "pcie_replays"),
    )
    yield "DCGM_FI_DEV_GPU_UTIL", "gauge", "GPU utilization (in %).", devices.utilization_pct.tolist()
    yield "DCGM_FI_DEV_MEM_COPY_UTIL", "gauge", "Memory utilization (in %).", devices.memory_utilization_pct.tolist()
    yield "DCGM_FI_DEV_ENC_UTIL", "gauge", "Encoder utilization (in %).", nothing
    yield "DCGM_FI_DEV_DEC_UTIL", "gauge", "Decoder utilization (in %).", nothing
    yield XID, "gauge", "Value of the last XID error encountered.", xids(devices)
    used, reserved = devices.memory_used_mib, devices.memory_reserved_mib
    free = (devices.memory_total_mib - used - reserved).tolist()
    yield "DCGM_FI_DEV_FB_FREE", "gauge", "Framebuffer memory free (in MiB).", free
    yield "DCGM_FI_DEV_FB_USED", "gauge", "Framebuffer memory used (in MiB).", used.tolist()
    yield "DCGM_FI_DEV_FB_RESERVED", "gauge", "Framebuffer memory reserved (in MiB).", reserved.tolist()
    links = "Total number of NVLink bandwidth counters for all lanes."
    yield "DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL", "counter", links, same(devices.nvlink_bytes)
    yield "DCGM_FI_DEV_VGPU_LICENSE_STATUS", "gauge", "vGPU License status", nothing
    uncorrectable = "Number of remapped rows for uncorrectable errors"
    yield (
        "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS",
        "counter",
        uncorrectable,
        of_each(devices, "remapped_uncorrectable"),
    )
    correctable = "Number of remapped rows for correctable errors"
    yield "DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS", "counter", correctable, of_each(devices, "remapped_correctable")
    yield (
        "DCGM_FI_DEV_ROW_REMAP_FAILURE",
        "gauge",
        "Whether remapping of rows has failed",
        of_each(devices, "remapping_failed"),
    )
    if devices.conditions is not None:
        yield from error_samples(devices)
    active = (devices.utilization_pct / 100).tolist()
    yield "DCGM_FI_PROF_GR_ENGINE_ACTIVE", "gauge", "Ratio of time the graphics engine is active.", active
    tensor = same(round(devices.tensor_active, 6))
    yield "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", "gauge", "Ratio of cycles the tensor (HMMA) pipe is active.", tensor
    memory = "Ratio of cycles the device memory interface is active sending or receiving data."
    yield "DCGM_FI_PROF_DRAM_ACTIVE", "gauge", memory, devices.memory_busy_share.round(6).tolist()
    sent = "The rate of data transmitted over the PCIe bus - including both protocol headers and data payloads."
    yield "DCGM_FI_PROF_PCIE_TX_BYTES", "gauge", sent, same(devices.pcie_bytes_per_s)
    received = "The rate of data received over the PCIe bus - including both protocol headers and data payloads."
    yield "DCGM_FI_PROF_PCIE_RX_BYTES", "gauge", received, same(devices.pcie_bytes_per_s)
