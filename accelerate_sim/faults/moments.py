"""``Moment``: when a fault that waits in a queue would strike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from accelerate_sim.faults.fault import Fault

if TYPE_CHECKING:
    from accelerate_sim.faults.pace import Pace

SHARES = {"forward": 0.15, "backward": 0.5, "allreduce": 0.85, "optimizer": 0.96}
"""Share of a step's time that has passed in the middle of each of its phases."""
MIDST = "backward"
"""The phase of a strike that names none."""


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


def share_of(entry: QueuedFault) -> float:
    """Share of a step that has passed when a fault of a phase of it strikes."""
    return SHARES[entry.fault.at.phase or MIDST]


def in_step(pace: Pace, entry: QueuedFault, step: int) -> Moment:
    """The moment in the middle of the fault's phase of a step."""
    phase = entry.fault.at.phase or MIDST
    begin_s = pace.begin_s(step)
    return Moment(entry, step, phase, begin_s + SHARES[phase] * (pace.end_s(step) - begin_s))


def at_second(pace: Pace, entry: QueuedFault, second: float) -> Moment:
    """The moment in the step that is under way, or that comes next after a pause."""
    step = pace.step_at(second)
    begin_s, end_s = pace.begin_s(step), pace.end_s(step)
    second = min(max(second, begin_s), end_s)
    if phase := entry.fault.at.phase:
        return in_step(pace, entry, step if second <= begin_s + SHARES[phase] * (end_s - begin_s) else step + 1)
    share = (second - begin_s) / (end_s - begin_s)
    bounds = {"forward": 0.33, "backward": 0.82, "allreduce": 0.94}
    return Moment(entry, step, next((name for name, bound in bounds.items() if share < bound), "optimizer"), second)
