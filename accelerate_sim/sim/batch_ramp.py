"""Sequences of each optimizer step: the same number in all, or a ramp up to the whole global batch.

The ramp is that of Megatron-LM's --rampup-batch-size: the batch grows by equal increments after equal numbers of
sequences. A step takes the batch that the sequences before it have reached, so early stages have more steps than late
ones.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

from accelerate_sim.config.sections.train import TrainConfig

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Counts: TypeAlias = "NDArray[np.int64]"
Floats: TypeAlias = "NDArray[np.float64]"


@dataclass(frozen=True, slots=True)
class Stage:
    """Consecutive steps with the same batch."""

    first_step: int
    """Number of its first step, from 0."""
    first_sequence: int
    """Sequences in all steps before it."""
    batch: int
    """Sequences in each step of the stage."""


@dataclass(frozen=True)
class BatchSchedule:
    """The stages of a run in order; the last has no end."""

    stages: tuple[Stage, ...]

    @classmethod
    def of(cls, train: TrainConfig) -> BatchSchedule:
        """Stages without a step, which a single step jumps over, are left out."""
        ramp, whole = train.batch_ramp, train.global_batch
        if ramp is None or ramp.start == whole:
            return cls((Stage(0, 0, whole),))
        increments = (whole - ramp.start) // ramp.increment
        stages, step, sequence, done = [], 0, 0, 0
        while done < increments:
            batch = ramp.start + done * ramp.increment
            stages.append(Stage(step, sequence, batch))
            # The next increment is due at the first step that begins after this many sequences.
            due = -(-ramp.samples * (done + 1) // increments)
            steps = -(-(due - sequence) // batch)
            step, sequence = step + steps, sequence + steps * batch
            done = min(sequence * increments // ramp.samples, increments)
        return cls((*stages, Stage(step, sequence, whole)))

    @property
    def whole(self) -> Stage:
        """The stage with the whole global batch."""
        return self.stages[-1]

    @cached_property
    def _first_steps(self) -> list[int]:
        return [stage.first_step for stage in self.stages]

    def number_at(self, step: int) -> int:
        """Number of the stage that ``step`` belongs to, from 0."""
        return bisect_right(self._first_steps, step) - 1 if len(self.stages) > 1 else 0

    def batch(self, step: int) -> int:
        """Sequences in ``step``."""
        return self.stages[self.number_at(step)].batch

    def sequences_before(self, step: int) -> int:
        """Sequences in all steps before ``step``."""
        stage = self.stages[self.number_at(step)]
        return stage.first_sequence + (step - stage.first_step) * stage.batch

    def sequences_done(self, steps: Floats) -> Floats:
        """Sequences in all steps before each of these, which may lie between two steps."""
        if len(self.stages) == 1:
            return steps * self.whole.batch
        import numpy as np

        numbers = self.numbers(np.floor(steps).astype(np.int64))
        first_step, first_sequence, batch = (
            np.array([getattr(stage, name) for stage in self.stages])[numbers]
            for name in ("first_step", "first_sequence", "batch")
        )
        return np.asarray(first_sequence + (steps - first_step) * batch)

    def begins(self, step: int) -> bool:
        """True if the batch grows with ``step``."""
        return step > 0 and self.stages[self.number_at(step)].first_step == step

    def steps_in(self, last_step: int) -> list[int]:
        """Number of the first ``last_step`` steps that each stage has."""
        ends = [*self._first_steps[1:], last_step]
        return [max(0, min(end, last_step) - first) for first, end in zip(self._first_steps, ends, strict=True)]

    def numbers(self, steps: Counts) -> Counts:
        """Numbers of the stages that these steps belong to, from 0."""
        import numpy as np  # here, since a plan comes without it

        return np.searchsorted(self._first_steps, steps, side="right") - 1

    def batches(self, steps: Counts) -> Counts | int:
        """Sequences in each of these steps; one number if all steps have the same."""
        if len(self.stages) == 1:
            return self.whole.batch
        import numpy as np

        return np.array([stage.batch for stage in self.stages])[self.numbers(steps)]
