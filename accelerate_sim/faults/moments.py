"""``Moment``: when a fault that waits in a queue would strike."""

from __future__ import annotations

from dataclasses import dataclass

from accelerate_sim.faults.fault import Fault


@dataclass(slots=True)
class QueuedFault:
    """A fault in a queue."""

    fault: Fault
    order: int
    cause: str | None = None
    recurrence: int = 0
    """Number of its next recurrence."""
    due_s: float = 0.0
    """Second of its next recurrence."""
    due_life: int = 0
    """Step in the life of the job of its next recurrence."""
    is_drawn: bool = False


@dataclass(frozen=True, slots=True)
class Moment:
    """The moment of a strike."""

    entry: QueuedFault
    step: int
    phase: str
    second: float

    @property
    def fault(self) -> Fault:
        return self.entry.fault

    @property
    def cause(self) -> str | None:
        return self.entry.cause
