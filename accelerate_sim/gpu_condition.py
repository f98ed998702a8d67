"""``Condition``: what is wrong with one GPU at one moment, as its driver counts and reports it.

Monitoring, tracking and display read it from ``Run.conditions``; only faults that happen change it.
"""

from __future__ import annotations

from typing import NamedTuple

IDLE, POWER_CAP, SLOWDOWN, THERMAL, HW_THERMAL, BRAKE = 0x1, 0x4, 0x8, 0x20, 0x40, 0x80
"""Bits of NVML's clocks event reasons."""


class ErrorCounts(NamedTuple):
    """ECC errors over one span of time."""

    sram_corrected: int = 0
    sram_parity: int = 0
    sram_secded: int = 0
    dram_corrected: int = 0
    dram_uncorrected: int = 0

    @property
    def sram_uncorrected(self) -> int:
        return self.sram_parity + self.sram_secded

    @property
    def corrected(self) -> int:
        return self.sram_corrected + self.dram_corrected

    @property
    def uncorrected(self) -> int:
        return self.sram_uncorrected + self.dram_uncorrected

    def plus(self, other: ErrorCounts) -> ErrorCounts:
        """The sums of both, counter by counter."""
        return ErrorCounts(*(one + two for one, two in zip(self, other, strict=True)))


class Condition(NamedTuple):
    """State of a GPU. The default is that of one without a fault."""

    xid: int = 0
    """The latest Xid; 0: none since the driver was loaded."""
    lost: bool = False
    """The GPU does not answer on the bus any more, or its machine is gone."""
    unreadable: bool = False
    """The driver answers, but the GPU's firmware does not: sensors cannot be read."""
    idle: bool = False
    """Nothing runs on it in steps: its process hangs on the host, while the other GPUs poll for it."""
    starved: float = 0.0
    """Share of a step in which nothing runs on it, as its batches come late; the other GPUs poll for it."""
    volatile: ErrorCounts = ErrorCounts()
    """ECC errors since the driver was loaded."""
    aggregate: ErrorCounts = ErrorCounts()
    """ECC errors of the board's whole life."""
    remapped_correctable: int = 0
    remapped_uncorrectable: int = 0
    remapping_pending: bool = False
    remapping_failed: bool = False
    recovery_action: str = "None"
    """The driver's advice: None, Reset, Reboot, Drain P2P or Drain and Reset."""
    pcie_replays: int = 0
    nvlink_crc_errors: int = 0
    nvlink_replays: int = 0
    nvlink_recoveries: int = 0
    links_down: frozenset[int] = frozenset()
    """NVLinks that are inactive."""
    reasons: int = 0
    """Bits of the reasons why the clock is low now."""
    speed: float = 1.0
    """Clock over the usual one."""
    heat: float = 0.0
    """Share of the way from the usual temperature to that at which the clock is lowered."""
    thermal_us: int = 0
    """Time in which heat has held the clock down, in microseconds."""
    power_us: int = 0
    """Time in which a power limit has held the clock down."""
    brake_us: int = 0
    """Time in which the server's power brake has held the clock down."""
    driver: str = ""
    """Version of its machine's driver, where it is not that of the catalog."""
    cuda: str = ""
    """Highest CUDA version of that driver."""
    library: str = ""
    """Version of the driver's library, where it is not that of its kernel module, so that nothing reads the GPU."""

    @property
    def needs_reset(self) -> bool:
        """True if the GPU is to be reset, or its machine rebooted, before a job starts on it again."""
        failed = self.lost or self.unreadable or self.remapping_pending or self.recovery_action != "None"
        return failed or bool(self.driver or self.library)

    def after_reset(self) -> Condition:
        """The condition after a reset: rows that waited for it are remapped, and what counts since then is 0."""
        return Condition(
            aggregate=self.aggregate,
            remapped_correctable=self.remapped_correctable,
            remapped_uncorrectable=self.remapped_uncorrectable + self.remapping_pending,
            remapping_failed=self.remapping_failed,
        )


HEALTHY = Condition()
