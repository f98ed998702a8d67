"""``History``: the figures of a run that the dashboard draws, kept from its records.

A run of any length takes the same memory, and the same time to draw.
"""

from __future__ import annotations

from collections import deque
from typing import TypeVar

from accelerate_sim.records import (
    AttemptRecord,
    CheckpointRecord,
    EvalRecord,
    Record,
    StartRecord,
    StepRecord,
    SummaryRecord,
    WarningRecord,
)

EVENTS_KEPT = 50
LATEST_KEPT = 512
"""Latest steps of which the pace is kept: more than the columns of a terminal."""
POINTS_KEPT = 8192
"""Most points of a curve: several for each column of a terminal."""

Point = TypeVar("Point")


class Curve(list[Point]):
    """The points of a curve, at most POINTS_KEPT: of more, every second, fourth, eighth ... one."""

    def __init__(self) -> None:
        self._every = 1
        self._count = 0

    def add(self, point: Point) -> None:
        """Add the next point."""
        if self._count % self._every == 0:
            if len(self) == POINTS_KEPT:
                del self[1::2]
                self._every *= 2
            if self._count % self._every == 0:
                self.append(point)
        self._count += 1


class History:
    """An observer of one session; a new run begins a new history."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self.losses: Curve[tuple[int, float]] = Curve()
        """(step, loss) of the steps."""
        self.furthest_step = 0
        self.tokens_per_s: deque[float] = deque(maxlen=LATEST_KEPT)
        self.step_s: deque[float] = deque(maxlen=LATEST_KEPT)
        self.validations: Curve[tuple[int, float]] = Curve()
        """(step, loss) of the validations."""
        self.restarts: Curve[int] = Curve()
        """Steps after which the job was started again."""
        self.attempts, self.warnings = 1, 0
        self.events: deque[str] = deque(maxlen=EVENTS_KEPT)
        """Warnings and restarts in words, the latest last."""
        self.last: StepRecord | None = None
        self.checkpoint: CheckpointRecord | None = None
        self.summary: SummaryRecord | None = None

    def observe(self, record: Record) -> None:
        match record:
            case StepRecord():
                self.losses.add((record.step, record.loss))
                self.furthest_step = max(self.furthest_step, record.step)
                self.tokens_per_s.append(record.tokens_per_s)
                self.step_s.append(record.step_time_s)
                self.last = record
            case EvalRecord():
                self.validations.add((record.step, record.loss))
            case CheckpointRecord():
                self.checkpoint = record
            case WarningRecord():
                self.warnings += 1
                self.events.append(f"step {record.step} rank {record.rank}: {record.message}")
            case AttemptRecord():
                self.attempts += 1
                self.restarts.add(record.step)
                self.events.append(f"started again after step {record.step}")
            case StartRecord():
                self._clear()
            case SummaryRecord():
                self.summary = record

    def flush(self) -> None: ...
