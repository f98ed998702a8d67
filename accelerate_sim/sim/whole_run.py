"""An estimate of a whole run before it is made: its seconds, part by part, and its energy."""

from __future__ import annotations

import math
from dataclasses import dataclass

from accelerate_sim.sim.run import Run

CHECKPOINTS_AVERAGED = 16
"""Checkpoints whose write times are averaged for an estimate of all."""


@dataclass(frozen=True)
class WholeRun:
    """The time and the energy that a run will likely take. Times in seconds, energy in joules."""

    num_steps: int
    num_validations: int
    num_checkpoints: int
    undisturbed_s: float
    """Time of all steps if nothing disturbed them."""
    steps_s: float
    """Time of all steps with a slow first step, late steps, drifts and slow GPUs, as drawn for the seed."""
    validation_s: float
    """Time of one validation."""
    checkpoint_s: float
    """Mean time of one checkpoint; 0 without any."""
    other_s: float
    """Time of start-up and export."""
    energy_j: float

    @classmethod
    def of(cls, run: Run) -> WholeRun:
        """The estimate for a run."""
        checkpoints, validations = _num_checkpoints(run), _num_validations(run)
        checkpoint_s = mean_checkpoint_s(run) if checkpoints else 0.0
        validation_s = run.config.eval.batches * run.evaluation_batch_s
        undisturbed_s, steps_s = run.expected_s(run.last_step), run.likely_s(run.last_step)
        other_s = run.startup.total + run.export_times.total
        steps_j = run.expected_steps_j(run.last_step) * steps_s / undisturbed_s
        energy_j = run.energy_j(steps_j, checkpoints * checkpoint_s, validations * validation_s, other_s)
        return cls(
            run.last_step, validations, checkpoints, undisturbed_s, steps_s, validation_s, checkpoint_s, other_s,
            energy_j,
        )  # fmt: skip

    @property
    def validating_s(self) -> float:
        """Time of all validations."""
        return self.num_validations * self.validation_s

    @property
    def saving_s(self) -> float:
        """Time of all checkpoints."""
        return self.num_checkpoints * self.checkpoint_s

    @property
    def total_s(self) -> float:
        return self.steps_s + self.saving_s + self.validating_s + self.other_s


def mean_checkpoint_s(run: Run) -> float:
    """Mean seconds to write one of the first checkpoints; a run without any counts as if each step had one."""
    every, total = run.config.checkpoint.every or 1, run.last_step
    saved = range(every - 1, max(total, every), every)[:CHECKPOINTS_AVERAGED]
    return sum(run.storage.seconds(run.checkpoint_bytes, "checkpoint", step) for step in saved) / len(saved)


def _num_checkpoints(run: Run) -> int:
    every = run.config.checkpoint.every
    return run.last_step // every if every else 0


def _num_validations(run: Run) -> int:
    """Number of validations: after every epoch, every ``eval.every`` steps, and the last step."""
    total, epoch, every = run.last_step, run.config.train.steps_per_epoch, run.config.eval.every
    number = total // epoch
    if every:
        number += total // every - total // math.lcm(epoch, every)
    return number + (total % epoch != 0 and (not every or total % every != 0))
