"""``StateCapture``: takes the state of a run between two steps, for a checkpoint, run.json or attempt.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from accelerate_sim.checkpoints.kept import Saved
from accelerate_sim.checkpoints.state import RunState
from accelerate_sim.checkpoints.trainer_state import TrainerHistory
from accelerate_sim.process.clock import Clock
from accelerate_sim.reporting.ledger import Ledger, LedgerMark
from accelerate_sim.sim.run import Run
from accelerate_sim.tracking.outputs import Outputs

if TYPE_CHECKING:
    from accelerate_sim.checkpoints.attempt_file import SavedAttemptEnd


class Mark(NamedTuple):
    """A moment between two steps from which the run can be continued."""

    step: int
    clock_s: float
    metrics: tuple[int, int]
    """Length of metrics.jsonl in bytes, and its checksum."""
    ledger: LedgerMark


@dataclass
class StateCapture:
    """The objects of a run whose state a new process needs."""

    run: Run
    origin_s: float
    """Simulated second at which the run began."""
    clock: Clock
    outputs: Outputs
    ledger: Ledger
    history: TrainerHistory
    attempt: int
    """Number of the attempt, in a run in which faults happen."""
    begun_at: tuple[int, int] = (0, 0)
    """Length of metrics.jsonl in bytes when the run began, and its checksum."""

    def begin(self) -> None:
        """Take the present moment as the beginning of the run."""
        self.begun_at = self.outputs.metrics_length()

    def go_on(self, begin_bytes: int, begin_crc32: int) -> None:
        """Take the beginning of the run from the state that a process before this one has saved."""
        self.begun_at = begin_bytes, begin_crc32

    def mark(self, step: int) -> Mark:
        """The present moment, after ``step`` steps whose records have all been reported."""
        return Mark(step, self.clock.now_s, self.outputs.metrics_length(), self.ledger.mark())

    def state(self, mark: Mark, saved: Sequence[Saved], *, planned: bool = True) -> RunState:
        """The state with which a new process continues at ``mark``; ``saved`` are the checkpoints that are kept."""
        return RunState(
            run=self.run.number,
            step=mark.step,
            config=self.run.config.model_dump(mode="json"),
            start_time=self.clock.start.isoformat(),
            origin_s=self.origin_s,
            clock_s=mark.clock_s,
            metrics_bytes=mark.metrics[0],
            metrics_crc32=mark.metrics[1],
            begin_bytes=self.begun_at[0],
            begin_crc32=self.begun_at[1],
            planned=planned,
            ledger=self.ledger.state_dict(mark.ledger),
            saved=tuple(saved),
            attempt=self.attempt,
        )

    def attempt_end(self, step: int, saved: Sequence[Saved]) -> SavedAttemptEnd:
        """The state that the next attempt goes on from, at the checkpoint after ``step`` steps; 0: from none."""
        from accelerate_sim.checkpoints.attempt_file import SavedAttemptEnd

        size_bytes, crc32 = self.outputs.metrics_length()
        return SavedAttemptEnd(
            run=self.run.number, attempt=self.attempt, step=step, start_time=self.clock.start.isoformat(),
            origin_s=self.origin_s, metrics_bytes=size_bytes, metrics_crc32=crc32, begin_bytes=self.begun_at[0],
            begin_crc32=self.begun_at[1], config=self.run.config.model_dump(mode="json"),
            ledger=self.ledger.state_dict(self.ledger.mark()),
            saved=tuple(one for one in saved if one.step <= step),
            history=self.history.trainer_state(step) if step else {},
        )  # fmt: skip
