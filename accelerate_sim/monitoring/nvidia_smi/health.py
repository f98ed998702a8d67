"""``Health``: error counters and conditions of one GPU, which every output of the tool reads from here.

The default is a GPU without a fault. ``reading._gpu`` is the one place that gives a GPU its health.
"""

from __future__ import annotations

from typing import NamedTuple


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


class Health(NamedTuple):
    """State of a GPU's memory and links, as far as faults change it."""

    volatile: ErrorCounts = ErrorCounts()
    """Errors since the driver was loaded."""
    aggregate: ErrorCounts = ErrorCounts()
    """Errors of the board's whole life."""
    sram_threshold_exceeded: bool = False
    remapped_correctable: int = 0
    remapped_uncorrectable: int = 0
    remapping_pending: bool = False
    remapping_failed: bool = False
    recovery_action: str = "None"
    """The driver's advice, e.g. ``Reset`` or ``Drain and Reset``."""
    pcie_replays: int = 0
    links_down: frozenset[int] = frozenset()
    """NVLinks that are inactive."""

    @property
    def needs_reset(self) -> bool:
        return self.recovery_action != "None"


HEALTHY = Health()
