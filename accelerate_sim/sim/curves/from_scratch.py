"""The expected loss of a run from scratch: an early fall, a slow one, and the law of model size and tokens.

The two falls are transients in steps at the peak rate, so they depend neither on the length of the run nor on its
batch; what is left after them is what a model of this size knows after so many tokens, of which those at a low rate
teach less, plus what a high rate hides. The loss so far does not depend on the rates to come. Constants were fitted to
public logs of 124M to 15B parameters, with 0.03 to 1.6 million tokens a step and five optimizers.
"""

import math
from dataclasses import dataclass

import numpy as np

from accelerate_sim.config.sections.train import TrainConfig
from accelerate_sim.sim.batch_ramp import BatchSchedule
from accelerate_sim.sim.curves.early_fall import EarlyFall
from accelerate_sim.sim.curves.instability import usual_learning_rate
from accelerate_sim.sim.curves.repeated_texts import RepeatedTexts
from accelerate_sim.sim.curves.schedule import WORTH_POWER, UpdateWorth, learning_rate, learning_steps, useful_steps
from accelerate_sim.sim.curves.texts import Texts
from accelerate_sim.sim.noise import Draws, Floats

LOWEST = 1.7
"""Nats; the entropy of text in tokens of a usual vocabulary, below which no published pretraining run went."""
USUAL_VOCAB = 32_000
"""Tokens in the vocabulary for which ``law`` was fitted."""
CHARACTER = 0.2
"""Nats that a character carries over those of a usual token, however few of them there are."""
FREQUENT_CHARACTERS = 0.35
"""The same where only the frequency of each is known: 2.4 to 2.5 nats in logs of 0.8M to 10.7M on characters."""
GROWN_PARAMETERS = 8e9
"""Size from which published rates are chosen such that wider models move as far in a step as this one."""
PLATEAU = (6.65, 7.45)
"""Range of the nats where the early fall ends, in tokens of a usual vocabulary."""
SLOW_STEPS_AT_USUAL_RATE = 690.0
"""Time constant of the slow fall for a model of that size, in steps at its usual rate.

Fitted to the losses of public logs at steps 50 to 50,000: 610 steps for 8B at 4e-4 and 470 at 8e-4, 540 for 15B at
4.5e-4, 170 for 124M at 6e-4.
"""
SLOW_SIZE_POWER = 0.385
"""Power of the size by which smaller models are faster."""
SLOW_RATE_POWER = 0.38
"""Power of the learning rate by which a higher one is faster."""
SLOW_POWER = (2.2, 4.8)
"""Range of the power with which the slow fall fades: in logs of 8B and of 124M it is nearly an exponential."""
OPTIMIZERS: dict[str, tuple[float, float, float]] = {
    "adamw": (1.0, 1.0, 1.0), "muon": (1.0, 0.5, 1.6), "soap": (1.0, 0.42, 1.4), "lion": (4.0, 0.9, 1.0),
    "adafactor": (1.0, 1.15, 0.9),
}  # fmt: skip
"""Per optimizer: AdamW's rate of equal effect over its own, its time constant over AdamW's, and the number of AdamW's
tokens that one of its own is worth.

Muon and SOAP brought 124M below 5.5 nats in 59 to 139 steps at 1.8e-3 and 3e-3, AdamW in 202 to 464 at 6e-4 to 1.8e-3.
Muon's updates are taken as scaled to AdamW's (Liu et al. 2025), Lion's rate as a quarter of AdamW's (Chen et al.
2023).
"""
CRITICAL_AT_ONE_NAT, CRITICAL_POWER = 2e8, 4.76
"""Tokens of the critical batch at a loss of one nat, and the power by which it shrinks as the loss is higher: 0.3M at 4
nats, 3M at 2.4 (Kaplan et al. 2020). A batch of its size needs twice the tokens that a small one needs."""
MOST_WORTH = 1.4
"""Most of a usual batch's tokens that one of a smaller batch is worth, as 8B with 16 sequences a step learned."""
USUAL_BATCH_TOKENS = 5e5
"""Tokens a step of the runs that ``law`` holds for while they are young."""
UNTRAINED_NOISE = 0.05
"""The noise of an untrained model's loss as a share of what it grows to: 0.002 of 0.09 nats in one log, 0.005 of 0.04
and 0.01 of 0.1 in others."""
HIDDEN = (0.06, 0.22)
"""Range of the nats that the peak rate hides of all that a model can learn.

A cool-down over the last fifth brings 0.09 to 0.16 nats in logs of 124M, of which 0.04 are its tokens'.
"""
HIDDEN_POWER = 1.2
"""A cosine's bonus grows like the share of the run to the power of 1.3-1.6, a linear cool-down's like 1.0-1.2."""


def law(parameters: float, tokens: float) -> float:
    """Loss of a model of this size after this many tokens (Hoffmann et al. 2022, rounded constants)."""
    return float(1.69 + 406.4 / parameters**0.34 + 410.7 / tokens**0.28)


def token_information(vocab: int) -> float:
    """Nats that a token of this vocabulary carries over those of a usual token.

    A byte carries about a quarter. Beyond the usual vocabulary tokens grow longer more slowly than it grows.
    """
    ratio = math.log(max(vocab, 2)) / math.log(USUAL_VOCAB)
    return max(ratio**2, CHARACTER) if ratio < 1.0 else ratio**0.55


def equal_rate(train: TrainConfig) -> float:
    """Peak learning rate of AdamW that has the effect of the config's optimizer and rate."""
    return train.lr * OPTIMIZERS[train.optimizer][0]


def slow_time_constant(train: TrainConfig, parameters: float) -> float:
    """Steps at the peak rate in which the slow fall would end if it kept its first speed."""
    at_usual = SLOW_STEPS_AT_USUAL_RATE * min(parameters / GROWN_PARAMETERS, 1.0) ** SLOW_SIZE_POWER
    over_usual = equal_rate(train) / usual_learning_rate(parameters)
    return float(at_usual * OPTIMIZERS[train.optimizer][1] * over_usual**-SLOW_RATE_POWER)


def _token_worth(train: TrainConfig, parameters: float) -> float:
    """Tokens of AdamW at its usual rate that one of this run's is worth; updates count by the root of their rate."""
    over_usual = equal_rate(train) / usual_learning_rate(parameters)
    return float(OPTIMIZERS[train.optimizer][2] * min(max(over_usual, 0.25), 4.0) ** WORTH_POWER)


@dataclass(frozen=True)
class FromScratch:
    """The loss of a run that starts from random weights."""

    train: TrainConfig
    batches: BatchSchedule
    worth: UpdateWorth
    total_steps: int
    first: float
    plateau: float
    """Nats where the early fall ends: the model has learned how often each token occurs, and little else."""
    size_loss: float
    """Nats that remain at this model size after any number of tokens."""
    token_loss: float
    """Nats of the law's part that falls with tokens, times tokens to the power of 0.28."""
    head_start_tokens: float
    """Tokens at which the law gives the plateau; they are added, as the law is infinite at no tokens."""
    scale: float
    """Nats that a token of this vocabulary carries over those of a usual one."""
    token_worth: float
    """Tokens of AdamW at its usual rate that one of this run's is worth."""
    lowest: float
    early: EarlyFall
    slow_steps: float
    slow_power: float
    hidden: float
    """Nats that the peak learning rate adds to the loss; they vanish as it decays."""
    overshoot: float
    """Nats by which a warm-up that is too short drives the loss up at first."""
    repeated: RepeatedTexts | None
    """The texts, if the run reads them so often that it shows."""

    @classmethod
    def of(
        cls, train: TrainConfig, draws: Draws, vocab: int, parameters: float, total_steps: int, texts: Texts
    ) -> "FromScratch":
        """Draw the shape of a model of this size and vocabulary on the data that ``draws`` stands for."""
        of_tokens = token_information(vocab)
        information = of_tokens * texts.information
        first = math.log(vocab) + draws.between("first", 0.03, 0.35)
        of_frequencies = min(max(of_tokens, FREQUENT_CHARACTERS), 1.0) * texts.frequencies
        plateau = min(draws.between("plateau", *PLATEAU) * of_frequencies, 0.85 * first)
        usual = information * (1.69 + 406.4 / parameters**0.34)
        size_loss = usual + information * draws.between("difficulty", *texts.difficulty)
        usual, size_loss = min(usual, 0.9 * plateau), min(size_loss, 0.9 * plateau)
        # A model that has learned little finds all texts equally hard.
        token_loss = (
            information * 410.7 * draws.log("learnable", 0.92, 1.08) * (plateau - size_loss) / (plateau - usual)
        )
        batches = BatchSchedule.of(train)
        whole = useful_steps(train, batches, total_steps, total_steps).item()
        slow_power = draws.between("power", *SLOW_POWER)
        time_constant = slow_time_constant(train, parameters) * draws.log("slow", 0.78, 1.28)
        step_tokens = train.sequence_length * train.global_batch
        pass_tokens = min(step_tokens * train.steps_per_epoch, texts.tokens)
        read = train.sequence_length * batches.sequences_before(total_steps)
        hasty = train.warmup_steps < 6 and total_steps > 500 and draws.chance("hasty", 0.5)
        return cls(
            train=train, batches=batches, worth=UpdateWorth.of(train, total_steps), total_steps=total_steps,
            first=first, plateau=plateau, size_loss=size_loss,
            token_loss=token_loss, head_start_tokens=(token_loss / (plateau - size_loss)) ** (1.0 / 0.28),
            scale=information, token_worth=_token_worth(train, parameters),
            lowest=LOWEST * min(information, 1.0),
            early=EarlyFall.of(draws, equal_rate(train), whole),
            slow_steps=time_constant * slow_power, slow_power=slow_power,
            hidden=min(draws.log("hidden", *HIDDEN) * information, 0.1 * plateau),
            overshoot=draws.between("overshoot", 3.0, 10.0) if hasty else 0.0,
            repeated=RepeatedTexts.of(
                draws, pass_tokens, parameters, read, way=equal_rate(train) * pass_tokens / step_tokens
            ),
        )  # fmt: skip

    def at(self, step: Floats) -> Floats:
        """The expected training loss before the update of ``step``."""
        loss = self._learned(step)
        return loss if self.repeated is None else self.repeated.trained(loss, self._read(step))

    def unseen(self, step: Floats) -> Floats:
        """The expected loss on texts that are not trained on."""
        loss = self._learned(step)
        return loss if self.repeated is None else self.repeated.unseen(loss, self._read(step), step)

    def _learned(self, step: Floats) -> Floats:
        """The loss without what is memorised of single texts."""
        moved = useful_steps(self.train, self.batches, self.total_steps, step)
        known = self.size_loss + self.token_loss * self._tokens(step) ** -0.28
        learned = useful_steps(self.train, self.batches, self.total_steps, step, learning_steps)
        early = (self.first - self.plateau) * self.early.left(moved)
        slow = (self.plateau - known) * (1.0 + learned / self.slow_steps) ** -self.slow_power
        hidden = self.hidden * (1.0 - (1.0 - _rate_share(self.train, self.total_steps, step)) ** HIDDEN_POWER)
        # The rate hides a share of what has been learned, which is nothing at first.
        hidden *= (self.plateau - known - slow) / (self.plateau - self.size_loss)
        leap = self.overshoot * step * np.exp(1.0 - step) if self.overshoot else 0.0
        return np.asarray(np.maximum(known + slow + early + hidden, self.lowest) + leap)

    def _tokens(self, step: Floats) -> Floats:
        """Tokens before ``step`` in the law's terms: those of batches far above the critical one teach less."""
        tokens = self._read(step)
        batch = tokens / np.maximum(step, 1.0)
        tokens = tokens if self.repeated is None else self.repeated.worth(tokens)
        critical = CRITICAL_AT_ONE_NAT / self._law_loss(tokens) ** CRITICAL_POWER
        share = np.minimum((1.0 + USUAL_BATCH_TOKENS / critical) / (1.0 + batch / critical), MOST_WORTH)
        return np.asarray(self.head_start_tokens + self.token_worth * share * self.worth.mean(step) * tokens)

    def _read(self, step: Floats) -> Floats:
        """Tokens before ``step``, repeats among them."""
        return np.asarray(self.train.sequence_length * self.batches.sequences_done(step))

    def _law_loss(self, tokens: Floats) -> Floats:
        return np.asarray((self.size_loss + self.token_loss * (self.head_start_tokens + tokens) ** -0.28) / self.scale)

    def known(self, step: Floats) -> Floats:
        """Share of a text's own difficulty that the loss shows; an untrained model finds all tokens equally hard."""
        left = self.early.left(useful_steps(self.train, self.batches, self.total_steps, step))
        return np.asarray(UNTRAINED_NOISE + (1.0 - UNTRAINED_NOISE) * (1.0 - left))

    def memorised(self, step: Floats) -> Floats:
        """Share of the texts that the model knows by heart."""
        return np.zeros_like(step) if self.repeated is None else self.repeated.memorised(self._read(step))


def _rate_share(train: TrainConfig, total_steps: int, step: Floats | float) -> Floats:
    """Learning rate over its peak; 1 in the warm-up, when little is hidden because little is known."""
    rate = learning_rate(train, total_steps, step) / train.lr
    return np.asarray(np.where(np.asarray(step) < train.warmup_steps, 1.0, np.clip(rate, 0.0, 1.0)))
