"""The expected loss of a run at every step, without noise: from scratch, continued from a checkpoint, or fine-tuned.

A shape follows from the model, the data and the training config. Reruns with another seed share it, as real ones do.
What no formula knows (the architecture's details, the mix of the data) is drawn once from the names of model and data.
Shapes and ranges were measured on public training logs from 16M to 405B parameters.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from accelerate_sim.config.schema import TrainConfig
from accelerate_sim.sim.noise import Draws, Floats
from accelerate_sim.sim.schedule import learning_rate

LOWEST = 1.7
"""Nats; the entropy of text in tokens of a usual vocabulary, below which no published pretraining run went."""
USUAL_VOCAB = 32_000
"""Below it tokens are shorter, and each is easier to guess."""


def law(parameters: float, tokens: float) -> float:
    """Loss of a model of this size after this many tokens (Hoffmann et al. 2022, rounded constants)."""
    return float(1.69 + 406.4 / parameters**0.34 + 410.7 / tokens**0.28)


def too_few_steps(steps: int) -> float:
    """What the law does not know: tokens in few, large steps teach less. Runs of 500-2000 steps ended at 3.3 to 6."""
    return float(2.2 * (200.0 / max(steps, 200)) ** 0.85)


def token_information(vocab: int) -> float:
    """Nats that a token of this vocabulary carries, as a share of a usual token's; bytes carry about a quarter."""
    return min(1.0, math.log(max(vocab, 2)) / math.log(USUAL_VOCAB)) ** 2


class Shape(Protocol):
    """The expected training loss of optimizer step ``step``, before its update; nats per token."""

    @property
    def early_steps(self) -> float:
        """Steps of the first fall."""

    def at(self, step: Floats) -> Floats: ...

    def unseen(self, step: Floats) -> Floats:
        """The same on texts that are not trained on."""


@dataclass(frozen=True)
class FromScratch:
    """A power law with a floor, an early drop, and what a high learning rate hides."""

    train: TrainConfig
    total_steps: int
    first: float
    plateau: float
    """Where the early fall ends: the model knows how often each token occurs, and little else."""
    floor: float
    lowest: float
    early_steps: float
    early_power: float
    slow_steps: float
    slow_power: float
    hidden: float
    """Nats that the peak learning rate hides; they show as it decays."""
    overshoot: float
    """Nats by which a warm-up that is too short drives the loss up at first."""

    @classmethod
    def of(cls, train: TrainConfig, draws: Draws, vocab: int, parameters: float, total_steps: int) -> "FromScratch":
        information = token_information(vocab)
        first = math.log(vocab) + draws.between("first", 0.03, 0.55)
        plateau = min(draws.between("plateau", 6.6, 7.8) * information, 0.85 * first)
        reached = law(parameters, train.global_batch * train.sequence_length * total_steps) + too_few_steps(total_steps)
        last = min(reached * information + draws.between("luck", -0.04, 0.06), plateau - 0.3)
        straight = draws.chance("straight", 0.4)  # straight in log-log; otherwise it bends
        slow_share = draws.log("slow", 0.004, 0.01) if straight else draws.log("slow", 0.02, 0.2)
        slow_steps = max(total_steps * slow_share, 1.0)
        slow_power = draws.between("power", 0.3, 0.6) if straight else draws.between("power", 0.7, 1.8)
        hidden = min(draws.log("hidden", 0.03, 0.18) * last / 3.2, 0.5 * (plateau - last))
        # What of it has shown at the end: all where the rate goes down to nothing, none where it is constant.
        shown = hidden * (1.0 - _rate_share(train, total_steps, total_steps - 1.0).item()) ** HIDDEN_POWER
        left = (1.0 + total_steps / slow_steps) ** -slow_power
        early = draws.log("early", 9, 65) * max(1.0, math.sqrt(total_steps / 8000))
        early *= max(1.0, train.warmup_steps / 100) ** 0.25  # nothing is learned while the rate is tiny
        hasty = train.warmup_steps < 6 and total_steps > 500 and draws.chance("hasty", 0.5)
        return cls(
            train=train, total_steps=total_steps, first=first, plateau=plateau,
            floor=(last + shown - plateau * left) / (1.0 - left), lowest=LOWEST * information,
            early_steps=min(early, total_steps / 4 + 2), early_power=draws.between("early power", 1.3, 3.0),
            slow_steps=slow_steps, slow_power=slow_power, hidden=hidden,
            overshoot=draws.between("overshoot", 3.0, 10.0) if hasty else 0.0,
        )  # fmt: skip

    def at(self, step: Floats) -> Floats:
        slow = (self.plateau - self.floor) * (1.0 + step / self.slow_steps) ** -self.slow_power
        early = (self.first - self.plateau) / (1.0 + (step / self.early_steps) ** self.early_power)
        shown = self.hidden * (1.0 - _rate_share(self.train, self.total_steps, step)) ** HIDDEN_POWER
        leap = self.overshoot * step * np.exp(1.0 - step) if self.overshoot else 0.0
        return np.asarray(np.maximum(self.floor + slow + early - shown, self.lowest) + leap)

    unseen = at


HIDDEN_POWER = 1.2
"""A cosine's bonus grows like the share of the run to the power of 1.3-1.6, a linear cool-down's like 1.0-1.2."""


def _rate_share(train: TrainConfig, total_steps: int, step: Floats | float) -> Floats:
    """Learning rate over its peak; 1 in the warm-up, when little is hidden because little is known."""
    rate = learning_rate(train, total_steps, step) / train.lr
    return np.asarray(np.where(np.asarray(step) < train.warmup_steps, 1.0, np.clip(rate, 0.0, 1.0)))


@dataclass(frozen=True)
class Continued:
    """From a checkpoint on data of its own kind: a little is gained, as the root of the run that is done."""

    total_steps: int
    first: float
    gain: float
    early_steps: float = 1.0

    @classmethod
    def of(cls, train: TrainConfig, draws: Draws, parameters: float, total_steps: int) -> "Continued":
        first = law(parameters, 5e11) + draws.between("first", 0.2, 0.75)
        return cls(total_steps, first, draws.between("gain", 0.06, 0.12))

    def at(self, step: Floats) -> Floats:
        return np.asarray(self.first - self.gain * np.sqrt(step / max(self.total_steps, 1)))

    unseen = at


@dataclass(frozen=True)
class Restarted:
    """From a checkpoint on data that it does not know: flat while the rate warms up, then a fall like the first."""

    first: float
    last: float
    half_steps: float
    power: float
    early_steps: float

    @classmethod
    def of(cls, train: TrainConfig, draws: Draws, parameters: float, total_steps: int) -> "Restarted":
        tokens = train.global_batch * train.sequence_length * total_steps
        last = law(parameters, tokens) + too_few_steps(total_steps) + draws.between("last", 0.1, 0.7)
        half = 2.0 * draws.between("knee", 0.12, 0.25) * total_steps
        return cls(draws.between("first", 7.6, 7.85), min(last, 6.5), half, draws.between("power", 1.6, 2.6), half / 6)

    def at(self, step: Floats) -> Floats:
        return np.asarray(self.last + (self.first - self.last) / (1.0 + (step / self.half_steps) ** self.power))

    unseen = at


@dataclass(frozen=True)
class FineTuned:
    """A short first fall, then nearly flat; each further pass over the same texts is a step down (memorisation)."""

    total_steps: int
    steps_per_epoch: int
    first: float
    settled: float
    last: float
    power: float
    first_share: float
    first_power: float
    remembered: float
    """Share of the loss that a pass takes away from the next one."""
    overfit: float
    """Nats that further passes cost on unseen texts."""

    @classmethod
    def of(cls, train: TrainConfig, draws: Draws, total_steps: int) -> "FineTuned":
        settled = draws.between("settled", 0.9, 2.2)
        return cls(
            total_steps=total_steps, steps_per_epoch=train.steps_per_epoch,
            first=settled * draws.between("first", 1.05, 1.7), settled=settled,
            last=settled * draws.between("last", 0.75, 1.0), power=draws.between("power", 0.3, 0.8),
            first_share=draws.log("first share", 0.006, 0.06), first_power=draws.between("first power", 0.9, 1.6),
            remembered=draws.between("remembered", 0.1, 0.4), overfit=draws.between("overfit", 0.02, 0.12),
        )  # fmt: skip

    @property
    def early_steps(self) -> float:
        return self.first_share * self.total_steps

    def at(self, step: Floats) -> Floats:
        return np.asarray(self._learned(step) * (1.0 - self.remembered) ** np.floor(step / self.steps_per_epoch))

    def unseen(self, step: Floats) -> Floats:
        """It turns up in the second pass or the third."""
        return np.asarray(
            self._learned(step) + self.overfit * np.maximum(step / self.steps_per_epoch - 1.2, 0.0) ** 1.3
        )

    def _learned(self, step: Floats) -> Floats:
        done = np.minimum(step / max(self.total_steps, 1), 1.0)
        slow = self.last + (self.settled - self.last) * (1.0 - done**self.power)
        early = (self.first - self.settled) / (1.0 + (done / self.first_share) ** self.first_power)
        return np.asarray(slow + early)


@dataclass(frozen=True)
class Exponential:
    """The fall that was asked for by hand instead: exponential over the whole run."""

    total_steps: int
    first: float
    last: float
    early_steps: float = 1.0

    def at(self, step: Floats) -> Floats:
        done = step / max(self.total_steps - 1, 1)
        return np.asarray(self.last + (self.first - self.last) * np.exp(-4.0 * done))

    unseen = at


def shape_of(train: TrainConfig, shape_seed: int, vocab: int, parameters: float, total_steps: int) -> Shape:
    """The shape of a run's loss; ``shape_seed`` stands for the names of model and data."""
    draws = Draws(shape_seed, "loss shape")
    if train.start == "finetune":
        return FineTuned.of(train, draws, total_steps)
    if train.start == "checkpoint":
        strange = draws.chance("strange data", 0.6)
        return (Restarted if strange else Continued).of(train, draws, parameters, total_steps)
    return FromScratch.of(train, draws, vocab, parameters, total_steps)
