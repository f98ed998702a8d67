"""``TrainingProgress``: completed steps, gradient accumulation and phases of a run, and the clock that they advance.

``Accelerator.prepare`` hands it to the model, the optimizer, the loaders and the scheduler, which know nothing else of
the accelerator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from accelerate_sim.checkpointing import Checkpoints
    from accelerate_sim.process.clock import Clock
    from accelerate_sim.reporting.monitor import Monitor
    from accelerate_sim.sim.run import Run
    from accelerate_sim.sim.timeline import Phase


class Strike(NamedTuple):
    """Something that happens to the run at a place of its training."""

    completed: int
    """Steps that are complete."""
    place: str
    """``step``, ``restore`` or a phase of the timeline."""
    happen: Callable[[], None]


class TrainingProgress:
    """The position of a run in its training. ``training_origin_s`` is the simulated second of the first step."""

    def __init__(
        self, run: Run, clock: Clock, training_origin_s: float, checkpoints: Checkpoints, monitor: Monitor
    ) -> None:
        self.run = run
        self.clock = clock
        self.training_origin_s = training_origin_s
        self.completed_steps = 0
        self.sync_gradients = True
        """True in the last micro-batch of a step."""
        self.startup_end_s = training_origin_s
        """Simulated second at which the start-up of this process is over."""
        self._micro_batches = 0
        self._last_micro_batch = 0
        """Number of the step's last micro-batch, from 1."""
        self._checkpoints = checkpoints
        self._monitor = monitor
        self._strikes: list[Strike] = []
        self._strike_after = -1
        """Completed steps at the next strike; -1: none comes."""

    @property
    def elapsed_s(self) -> float:
        """Simulated seconds since the first step began."""
        return self.clock.now_s - self.training_origin_s

    @property
    def micro_batches_per_step(self) -> int:
        """Micro-batches that a rank takes for the present step; fewer while the batch is still growing."""
        return self.run.accumulation(self.completed_steps)

    def begin_micro_batch(self) -> None:
        """Count a micro-batch; the last one of a step synchronises the gradients."""
        if not self._micro_batches:
            self._last_micro_batch = self.micro_batches_per_step
        self._micro_batches += 1
        self.sync_gradients = self._micro_batches == self._last_micro_batch
        if self.sync_gradients:
            self._micro_batches = 0

    def expect(self, strikes: Sequence[Strike]) -> None:
        """Let strikes happen at their places, which are in order."""
        self._strikes = list(strikes)
        self._strike_after = self._strikes[0].completed if strikes else -1

    @property
    def strikes_ahead(self) -> int:
        """Strikes that have yet to happen."""
        return len(self._strikes)

    def reach(self, place: str) -> None:
        """Let the strikes happen that are next at this place after the present number of steps."""
        while self._strike_after == self.completed_steps and self._strikes[0].place == place:
            strike = self._strikes.pop(0)
            self._strike_after = self._strikes[0].completed if self._strikes else -1
            strike.happen()

    def start_until(self, second: float) -> None:
        """Let the start-up of this process end at a simulated second, later than that of the run's first attempt."""
        self.startup_end_s = second

    def finish_step(self) -> None:
        """Count an optimizer step, and let its time pass."""
        if self._strike_after == self.completed_steps:
            self.reach("step")
        self._checkpoints.mark(self.completed_steps)
        end_s = self.training_origin_s + self.run.step_end_s(self.completed_steps)
        self.completed_steps += 1
        self.clock.advance_to(end_s)

    def continue_after(self, step: int) -> None:
        """Set the completed steps to those of a checkpoint."""
        self.completed_steps = step
        if self._strike_after == step:
            self.reach("restore")

    def begin_phase(self, phase: Phase) -> None:
        """Report the GPUs in a phase that is no step, such as a validation."""
        self._monitor.begin_phase(phase, self.completed_steps)
        if self._strike_after == self.completed_steps:
            self.reach(phase)

    def begin_export(self) -> None:
        """End the training: a process that is ended from here on resumes with the export."""
        self._checkpoints.mark(self.completed_steps)
        self.begin_phase("export")


class Accumulation:
    """The context of each micro-batch of a run."""

    def __init__(self, progress: TrainingProgress) -> None:
        self._progress = progress

    def __enter__(self) -> None:
        self._progress.begin_micro_batch()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...
