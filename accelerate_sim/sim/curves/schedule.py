"""Learning-rate schedules: the exact formula, so that the rate can be checked at any step, and the worth of updates."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from accelerate_sim.config.sections.train import TrainConfig
from accelerate_sim.sim.batch_ramp import BatchSchedule
from accelerate_sim.sim.noise import Floats

CRITICAL_BATCH_TOKENS = 5e5
"""Tokens of a batch of which a doubled one is worth 4/3 as much a step, and a halved one 2/3.

It grows as the loss falls: 0.3M at a loss of 4, 0.8M at 3.2 (Kaplan et al. 2020, B* = 2e8 tokens / L^4.76); ramps are
for the time between the two.
"""
COOLDOWN_SHARE = 0.2
"""Share of the steps in which a WSD schedule decays (Hägele et al. 2024)."""

WORTH_POWER = 0.5
"""Power of its share of the peak rate that an update is worth for what tokens teach.

At 0 only the tokens count, at 1 only the distance (Tissue et al. 2024). Logs of 124M whose rate decays to nothing fall
by 0.10 to 0.12 nats in their second half and by 0.01 in their last fifth; those of 8B at a constant rate as tokens do.
"""
WORTH_OF_A_COSINE = 0.7026
"""Mean worth of the updates of a cosine down to a tenth, the schedule of the runs that scaling laws are fitted to."""
WORTH_PIECES = 1000
"""Pieces that a run is cut into to sum the worth of its updates; the start of a cool-down is the end of one."""


def learning_rate(train: TrainConfig, total_steps: int, step: ArrayLike) -> Floats:
    """Learning rate that optimizer step ``step`` (0, 1, ...) uses.

    Linear warm-up from peak / warmup_steps to the peak; then cosine or linear to ``min_lr`` at the last step,
    constant, or warm-up-stable-decay with a linear cool-down over the last fifth.
    """
    step = np.asarray(step, float)
    warmup = min(train.warmup_steps, total_steps)
    ramp = np.minimum(1.0, (step + 1.0) / max(warmup, 1))
    done = np.clip((step + 1.0 - warmup) / max(total_steps - warmup, 1), 0.0, 1.0)
    if train.schedule == "cosine":
        shape = 0.5 * (1.0 + np.cos(np.pi * done))
    elif train.schedule == "linear":
        shape = 1.0 - done
    elif train.schedule == "wsd":
        shape = np.minimum(1.0, (1.0 - done) / COOLDOWN_SHARE)
    else:
        return np.asarray(train.lr * ramp)
    decayed = train.min_lr + (train.lr - train.min_lr) * shape
    return np.asarray(np.where(step + 1.0 <= warmup, train.lr * ramp, decayed))


def distance_share(train: TrainConfig, total_steps: int, step: ArrayLike) -> Floats:
    """Sum of the learning rates of the updates before ``step``, over that of the whole run: 0 to 1."""
    warmup = min(train.warmup_steps, total_steps)
    least = min(train.min_lr / train.lr, 1.0)

    def summed(at: Floats) -> Floats:
        before = np.minimum(at, warmup)
        done = np.clip((at - warmup) / max(total_steps - warmup, 1), 0.0, 1.0)
        if train.schedule == "cosine":
            shape = 0.5 * (done + np.sin(np.pi * done) / np.pi)
        elif train.schedule == "linear":
            shape = done - 0.5 * done**2
        elif train.schedule == "wsd":
            late = np.maximum(done - (1.0 - COOLDOWN_SHARE), 0.0)
            shape = done - 0.5 * late**2 / COOLDOWN_SHARE
        else:
            shape = done
        lowest = 1.0 if train.schedule == "constant" else least
        after = lowest * done + (1.0 - lowest) * shape
        return np.asarray(0.5 * before**2 / max(warmup, 1) + after * max(total_steps - warmup, 0))

    whole = float(summed(np.asarray(float(total_steps))))
    return np.asarray(np.clip(summed(np.asarray(step, float)) / max(whole, 1e-9), 0.0, 1.0))


def full_rate_steps(train: TrainConfig, total_steps: int, step: ArrayLike) -> Floats:
    """Number of steps at the peak rate that the updates before ``step`` are worth, each in proportion to its rate.

    An Adam step moves each weight by about the rate, so this is the distance that the weights have moved.
    """
    step = np.asarray(step, float)
    warmup = min(train.warmup_steps, total_steps)
    ramped = np.minimum(step, warmup)
    return np.asarray(ramped * (ramped + 1.0) / (2.0 * max(warmup, 1)) + step - ramped)


def learning_steps(train: TrainConfig, total_steps: int, step: ArrayLike) -> Floats:
    """Number of steps at the peak rate in which as much is learned as in those before ``step``.

    In the warm-up each counts by the root of its share of the peak rate.
    """
    step = np.asarray(step, float)
    warmup = min(train.warmup_steps, total_steps)
    ramped = np.minimum(step, warmup)
    return np.asarray(ramped * (ramped / max(warmup, 1)) ** WORTH_POWER / (1.0 + WORTH_POWER) + step - ramped)


def useful_steps(
    train: TrainConfig, batches: BatchSchedule, total_steps: int, step: ArrayLike,
    counted: Callable[[TrainConfig, int, ArrayLike], Floats] = full_rate_steps,
) -> Floats:  # fmt: skip
    """The ``counted`` steps as steps with the whole global batch: those with a smaller one teach less.

    A step with batch B is worth 1 / (1 + B_critical / B) of one without noise (McCandlish et al. 2018).
    """
    if len(batches.stages) == 1:
        return counted(train, total_steps, step)
    step = np.asarray(step, float)
    critical = CRITICAL_BATCH_TOKENS / train.sequence_length
    sizes = np.array([stage.batch for stage in batches.stages])
    worth = (1.0 + critical / train.global_batch) / (1.0 + critical / sizes)
    begins = counted(train, total_steps, np.array([stage.first_step for stage in batches.stages]))
    before = np.concatenate(([0.0], np.cumsum(worth[:-1] * np.diff(begins))))
    number = batches.numbers(np.floor(step).astype(np.int64))
    return np.asarray(before[number] + worth[number] * (counted(train, total_steps, step) - begins[number]))


@dataclass(frozen=True)
class UpdateWorth:
    """The worth of updates for what their tokens teach; at a low rate a model learns less from each."""

    warmup: int
    steps: Floats = field(compare=False, repr=False)
    """Steps from the end of the warm-up to that of the run."""
    sums: Floats = field(compare=False, repr=False)
    """Sum of the worth of the updates between the warm-up and each of ``steps``."""

    @classmethod
    def of(cls, train: TrainConfig, total_steps: int) -> "UpdateWorth":
        """The worth of the updates of a run with this many steps."""
        warmup = min(train.warmup_steps, total_steps)
        steps = np.linspace(warmup, max(total_steps, warmup + 1), WORTH_PIECES + 1)
        worth = np.clip(learning_rate(train, total_steps, steps) / train.lr, 0.0, 1.0) ** WORTH_POWER
        pieces = 0.5 * (worth[1:] + worth[:-1]) * np.diff(steps)
        return cls(warmup, steps, np.concatenate(([0.0], np.cumsum(pieces))))

    def mean(self, step: Floats) -> Floats:
        """Mean worth of the updates before ``step``, over that of a cosine down to a tenth."""
        ramped = np.minimum(step, self.warmup)
        in_warmup = ramped * (ramped / max(self.warmup, 1)) ** WORTH_POWER / (1.0 + WORTH_POWER)
        whole = in_warmup + np.interp(step, self.steps, self.sums)
        return np.asarray(whole / (WORTH_OF_A_COSINE * np.maximum(step, 1.0)))
