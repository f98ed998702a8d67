"""``Health``: error counters and conditions of one GPU, which every output of the tool reads from here.

The default is a GPU without a fault. ``reading._gpu`` is the one place that gives a GPU its health.
"""

from __future__ import annotations

from typing import NamedTuple

from accelerate_sim.gpu_condition import Condition, ErrorCounts

__all__ = ["HEALTHY", "ErrorCounts", "Health"]


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
    lost: bool = False
    """The GPU does not answer on the bus any more."""
    unreadable: bool = False
    """Sensors cannot be read: cells of the table have ``ERR!``."""
    recovery_action: str = "None"
    """The driver's advice, e.g. ``Reset`` or ``Drain and Reset``."""
    pcie_replays: int = 0
    links_down: frozenset[int] = frozenset()
    """NVLinks that are inactive."""

    @classmethod
    def of(cls, condition: Condition) -> Health:
        """The health of a GPU in this condition."""
        return cls(**{name: getattr(condition, name) for name in cls._fields if name in Condition._fields})

    @property
    def needs_reset(self) -> bool:
        return self.recovery_action != "None"


HEALTHY = Health()
