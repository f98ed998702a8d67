"""The expected loss of a run at every step, without noise: from scratch, continued from a checkpoint, or fine-tuned.

A shape follows from the model, the data and the training config. Reruns with another seed share it, as real ones do.
What no formula knows (the architecture's details, the mix of the data) is drawn once from the names of model and data.
Shapes and ranges were measured on public training logs from 16M to 405B parameters.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from accelerate_sim.config.sections.train import TrainConfig
from accelerate_sim.sim.curves.from_scratch import FromScratch, law
from accelerate_sim.sim.curves.schedule import distance_share, learning_steps
from accelerate_sim.sim.curves.texts import Texts
from accelerate_sim.sim.noise import Draws, Floats

FIRST_STEPS = (1.5, 60.0)
"""Range of the steps at the peak rate in which a fine-tuning makes half of its first fall.

Logs of six sources took about 1 to 35 of them, in runs of 300 to 16,000 steps.
"""


class LossShape(Protocol):
    """The expected loss of optimizer step ``step``, before its update, in nats per token."""

    def known(self, step: Floats) -> Floats:
        """Share of a text's own difficulty that the loss shows, 0 to 1."""

    def at(self, step: Floats) -> Floats:
        """The loss on texts that are trained on."""

    def unseen(self, step: Floats) -> Floats:
        """The loss on texts that are not trained on."""


@dataclass(frozen=True)
class Continued:
    """The loss from a checkpoint on data of its own kind: it falls a little, as the root of the share that is done."""

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
        """All of it: the model has been trained before."""
        return np.ones_like(step)

    unseen = at


@dataclass(frozen=True)
class Restarted:
    """The loss from a checkpoint with a tokenizer that it was not trained with.

    It is flat in the warm-up, and then falls as from scratch. MLPerf's 405B starts at 7.7.
    """

    first: float
    last: float
    flat_steps: float
    half_steps: float
    power: float

    @classmethod
    def of(cls, draws: Draws, parameters: float, total_steps: int, total_tokens: int) -> "Restarted":
        last = law(parameters, total_tokens) + draws.between("last", 1.3, 2.3)
        return cls(
            draws.between("first", 7.6, 7.85), min(last, 6.5), draws.between("flat", 0.09, 0.15) * total_steps,
            draws.between("half", 0.4, 0.62) * total_steps, draws.between("power", 1.05, 1.3),
        )  # fmt: skip

    def at(self, step: Floats) -> Floats:
        fallen = np.maximum(step - self.flat_steps, 0.0) / self.half_steps
        return np.asarray(self.last + (self.first - self.last) / (1.0 + fallen**self.power))

    def known(self, step: Floats) -> Floats:
        """All of it: the model has been trained before."""
        return np.ones_like(step)

    unseen = at


@dataclass(frozen=True)
class FineTuned:
    """The loss of a fine-tuning: a short first fall, then nearly flat.

    Each further pass over the same texts is a step down, by what the model has memorised.
    """

    train: TrainConfig
    total_steps: int
    steps_per_epoch: int
    first: float
    settled: float
    last: float
    power: float
    first_steps: float
    """Steps at the peak rate in which half of the first fall is made, however long the run is."""
    first_power: float
    remembered: float
    """Share of the loss by which each pass over the data lowers that of the next one."""
    overfit: float
    """Nats that further passes cost on unseen texts."""

    @classmethod
    def of(cls, train: TrainConfig, draws: Draws, total_steps: int) -> "FineTuned":
        settled = draws.between("settled", 0.9, 2.2)
        return cls(
            train=train, total_steps=total_steps, steps_per_epoch=train.steps_per_epoch,
            first=settled * draws.log("first", 1.05, 2.4), settled=settled,
            last=settled * draws.between("last", 0.6, 0.98), power=draws.between("power", 0.3, 1.0),
            first_steps=min(draws.log("first steps", *FIRST_STEPS), 0.06 * total_steps),
            first_power=draws.between("first power", 0.9, 1.6),
            remembered=draws.between("remembered", 0.1, 0.4), overfit=draws.between("overfit", 0.02, 0.12),
        )  # fmt: skip

    def known(self, step: Floats) -> Floats:
        """All of it: the model has been trained before."""
        return np.ones_like(step)

    def at(self, step: Floats) -> Floats:
        return np.asarray(self._learned(step) * (1.0 - self.remembered) ** np.floor(step / self.steps_per_epoch))

    def unseen(self, step: Floats) -> Floats:
        """The loss on texts that are not trained on; it turns up in the second pass or the third."""
        return np.asarray(
            self._learned(step) + self.overfit * np.maximum(step / self.steps_per_epoch - 1.2, 0.0) ** 1.3
        )

    def _learned(self, step: Floats) -> Floats:
        learned = learning_steps(self.train, self.total_steps, step)
        # What is learned follows the weights' way, so the loss is flat where the rate has decayed to nothing.
        way = distance_share(self.train, self.total_steps, step)
        slow = self.last + (self.settled - self.last) * (1.0 - way**self.power)
        early = (self.first - self.settled) / (1.0 + (learned / self.first_steps) ** self.first_power)
        return np.asarray(slow + early)


@dataclass(frozen=True)
class Exponential:
    """The loss that ``impose.first_loss`` asks for: an exponential fall over the whole run."""

    total_steps: int
    first: float
    last: float

    def at(self, step: Floats) -> Floats:
        done = step / max(self.total_steps - 1, 1)
        return np.asarray(self.last + (self.first - self.last) * np.exp(-4.0 * done))

    def known(self, step: Floats) -> Floats:
        """All of it: the model has been trained before."""
        return np.ones_like(step)

    unseen = at


def shape_of(
    train: TrainConfig, shape_seed: int, vocab: int, parameters: float, total_steps: int, total_tokens: int,
    texts: Texts, *, retokenized: bool = False,
) -> LossShape:  # fmt: skip
    """The shape of a run's loss; ``shape_seed`` stands for the names of model and data.

    ``retokenized`` says that texts are cut into other tokens than those that the checkpoint was trained on.
    """
    draws = Draws(shape_seed, "loss shape")
    if train.start == "finetune":
        return FineTuned.of(train, draws, total_steps)
    if train.start == "checkpoint":
        if retokenized:
            return Restarted.of(draws, parameters, total_steps, total_tokens)
        return Continued.of(draws, parameters, total_steps)
    return FromScratch.of(train, draws, vocab, parameters, total_steps, texts)
