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
from accelerate_sim.sim.batch_ramp import BatchSchedule
from accelerate_sim.sim.curves.schedule import learning_rate, useful_steps
from accelerate_sim.sim.noise import Draws, Floats

LOWEST = 1.7
"""Nats; the entropy of text in tokens of a usual vocabulary, below which no published pretraining run went."""
USUAL_VOCAB = 32_000
"""Below it tokens are shorter, and each is easier to guess."""
USUAL_STEPS = 3000
"""Of the runs from which the shares of a run's length come; longer ones fall by the root of their length earlier."""


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

    def known(self, step: Floats) -> Floats:
        """What of a text's own difficulty the loss shows, 0 to 1. To an untrained model all tokens are equally hard,
        so all batches are."""

    def at(self, step: Floats) -> Floats: ...

    def unseen(self, step: Floats) -> Floats:
        """The same on texts that are not trained on."""


@dataclass(frozen=True)
class FromScratch:
    """A power law with a floor, an early drop, and what a high learning rate hides."""

    train: TrainConfig
    batches: BatchSchedule
    total_steps: int
    first: float
    plateau: float
    """Where the early fall ends: the model knows how often each token occurs, and little else."""
    floor: float
    lowest: float
    early: "EarlyFall"
    slow_steps: float
    slow_power: float
    hidden: float
    """Nats that the peak learning rate hides; they show as it decays."""
    overshoot: float
    """Nats by which a warm-up that is too short drives the loss up at first."""

    @classmethod
    def of(
        cls, train: TrainConfig, draws: Draws, vocab: int, parameters: float, total_steps: int, total_tokens: int
    ) -> "FromScratch":
        information = token_information(vocab)
        first = math.log(vocab) + draws.between("first", 0.03, 0.55)
        plateau = min(draws.between("plateau", 6.6, 7.8) * information, 0.85 * first)
        reached = law(parameters, total_tokens) + too_few_steps(total_steps)
        last = min(reached * information + draws.between("luck", -0.04, 0.06), plateau - 0.3)
        straight = draws.chance("straight", 0.4)  # straight in log-log; otherwise it bends
        slow_share = draws.log("slow", 0.004, 0.01) if straight else draws.log("slow", 0.02, 0.2)
        batches = BatchSchedule.of(train)
        whole = useful_steps(train, batches, total_steps, total_steps).item()
        # What is learned in the first thousand steps depends little on how many more there will be.
        slow_share *= min(USUAL_STEPS / whole, 1.0) ** 0.5
        slow_steps = max(whole * slow_share, 1.0)
        slow_power = draws.between("power", 0.3, 0.6) if straight else draws.between("power", 0.7, 1.8)
        hidden = min(draws.log("hidden", 0.03, 0.18) * last / 3.2, 0.5 * (plateau - last))
        # What of it has shown at the end: all where the rate goes down to nothing, none where it is constant.
        shown = hidden * (1.0 - _rate_share(train, total_steps, total_steps - 1.0).item()) ** HIDDEN_POWER
        left = (1.0 + whole / slow_steps) ** -slow_power
        hasty = train.warmup_steps < 6 and total_steps > 500 and draws.chance("hasty", 0.5)
        return cls(
            train=train, batches=batches, total_steps=total_steps, first=first, plateau=plateau,
            floor=(last + shown - plateau * left) / (1.0 - left), lowest=LOWEST * information,
            early=EarlyFall.of(draws, train.lr, parameters, whole),
            slow_steps=slow_steps, slow_power=slow_power, hidden=hidden,
            overshoot=draws.between("overshoot", 3.0, 10.0) if hasty else 0.0,
        )  # fmt: skip

    def at(self, step: Floats) -> Floats:
        moved = useful_steps(self.train, self.batches, self.total_steps, step)
        slow = (self.plateau - self.floor) * (1.0 + moved / self.slow_steps) ** -self.slow_power
        early = (self.first - self.plateau) * self.early.left(moved)
        shown = self.hidden * (1.0 - _rate_share(self.train, self.total_steps, step)) ** HIDDEN_POWER
        leap = self.overshoot * step * np.exp(1.0 - step) if self.overshoot else 0.0
        return np.asarray(np.maximum(self.floor + slow + early - shown, self.lowest) + leap)

    def known(self, step: Floats) -> Floats:
        left = self.early.left(useful_steps(self.train, self.batches, self.total_steps, step))
        return np.asarray(UNTRAINED_NOISE + (1.0 - UNTRAINED_NOISE) * (1.0 - left))

    unseen = at


UNTRAINED_NOISE = 0.05
"""The noise of an untrained model's loss as a share of what it grows to: 0.002 of 0.09 nats in one log, 0.005 of 0.04
and 0.01 of 0.1 in others."""


@dataclass(frozen=True)
class EarlyFall:
    """From knowing nothing to knowing how often each token occurs, in two falls with a knee between them: the frequent
    tokens first. In steps at the peak rate; where the rate is tiny at first, so is the fall."""

    frequent: float
    """Share of the fall that frequent tokens make."""
    frequent_steps: float
    frequent_power: float
    steps: float
    power: float

    @classmethod
    def of(cls, draws: Draws, peak_rate: float, parameters: float, whole: float) -> "EarlyFall":
        """``whole`` is the run in steps at the peak rate."""
        # A wide model needs smaller moves of its weights for the same change of its output.
        way = draws.log("early", 0.3e-3, 3.4e-3) * math.sqrt(1000 / _width(parameters))
        steps = min(max(way / peak_rate, 0.4), whole / 6 + 1.0)
        return cls(
            draws.between("frequent", 0.15, 0.5), steps * draws.log("frequent steps", 0.02, 0.4),
            draws.between("frequent power", 0.9, 1.6), steps, draws.between("early power", 1.0, 2.2),
        )  # fmt: skip

    def left(self, moved: Floats) -> Floats:
        """Share of the fall that is still to come."""
        first = self.frequent / (1.0 + (moved / self.frequent_steps) ** self.frequent_power)
        return np.asarray(first + (1.0 - self.frequent) / (1.0 + (moved / self.steps) ** self.power))


def _width(parameters: float) -> float:
    """About the hidden size of a model of usual proportions, whose layers are a eightieth of it."""
    return float((80.0 / 12.0 * parameters) ** (1.0 / 3.0))


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

    @classmethod
    def of(cls, draws: Draws, parameters: float, total_steps: int) -> "Continued":
        first = law(parameters, 5e11) + draws.between("first", 0.2, 0.75)
        return cls(total_steps, first, draws.between("gain", 0.06, 0.12))

    def at(self, step: Floats) -> Floats:
        return np.asarray(self.first - self.gain * np.sqrt(step / max(self.total_steps, 1)))

    def known(self, step: Floats) -> Floats:
        return np.ones_like(step)

    unseen = at


@dataclass(frozen=True)
class Restarted:
    """From a checkpoint, with a tokenizer that it does not know: flat while the rate warms up, then a fall like the
    first. MLPerf's 405B starts at 7.7."""

    first: float
    last: float
    flat_steps: float
    half_steps: float
    power: float

    @classmethod
    def of(cls, draws: Draws, parameters: float, total_steps: int, total_tokens: int) -> "Restarted":
        last = law(parameters, total_tokens) + draws.between("last", 1.6, 2.6)
        return cls(
            draws.between("first", 7.6, 7.85), min(last, 6.5), draws.between("flat", 0.05, 0.12) * total_steps,
            draws.between("half", 0.26, 0.46) * total_steps, draws.between("power", 1.5, 2.1),
        )  # fmt: skip

    def at(self, step: Floats) -> Floats:
        fallen = np.maximum(step - self.flat_steps, 0.0) / self.half_steps
        return np.asarray(self.last + (self.first - self.last) / (1.0 + fallen**self.power))

    def known(self, step: Floats) -> Floats:
        return np.ones_like(step)

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

    def known(self, step: Floats) -> Floats:
        return np.ones_like(step)

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

    def at(self, step: Floats) -> Floats:
        done = step / max(self.total_steps - 1, 1)
        return np.asarray(self.last + (self.first - self.last) * np.exp(-4.0 * done))

    def known(self, step: Floats) -> Floats:
        return np.ones_like(step)

    unseen = at


def shape_of(
    train: TrainConfig, shape_seed: int, vocab: int, parameters: float, total_steps: int, total_tokens: int,
    *, retokenized: bool = False,
) -> Shape:  # fmt: skip
    """The shape of a run's loss; ``shape_seed`` stands for the names of model and data. ``retokenized``: texts are cut
    into other tokens than those that the checkpoint knows."""
    draws = Draws(shape_seed, "loss shape")
    if train.start == "finetune":
        return FineTuned.of(train, draws, total_steps)
    if train.start == "checkpoint":
        if retokenized:
            return Restarted.of(draws, parameters, total_steps, total_tokens)
        return Continued.of(draws, parameters, total_steps)
    return FromScratch.of(train, draws, vocab, parameters, total_steps, total_tokens)
