"""``History``: the figures of a run that the dashboard draws, kept from its records."""

from __future__ import annotations

from array import array
from collections import deque

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


class History:
    """An observer of one session; a new run begins a new history."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self.steps, self.losses = array("d"), array("d")
        self.tokens_per_s, self.step_s = array("d"), array("d")
        self.validations: list[tuple[int, float]] = []
        """(step, loss) of each validation."""
        self.restarts: list[int] = []
        """Steps after which the job was started again."""
        self.events: deque[str] = deque(maxlen=EVENTS_KEPT)
        """Warnings and restarts in words, the latest last."""
        self.last: StepRecord | None = None
        self.checkpoint: CheckpointRecord | None = None
        self.summary: SummaryRecord | None = None

    def observe(self, record: Record) -> None:
        match record:
            case StepRecord():
                self.steps.append(record.step)
                self.losses.append(record.loss)
                self.tokens_per_s.append(record.tokens_per_s)
                self.step_s.append(record.step_time_s)
                self.last = record
            case EvalRecord():
                self.validations.append((record.step, record.loss))
            case CheckpointRecord():
                self.checkpoint = record
            case WarningRecord():
                self.events.append(f"step {record.step} rank {record.rank}: {record.message}")
            case AttemptRecord():
                self.restarts.append(record.step)
                self.events.append(f"started again after step {record.step}")
            case StartRecord():
                self._clear()
            case SummaryRecord():
                self.summary = record

    def flush(self) -> None: ...
