"""Training and validation loss: the shape of the run, the noise of its batches, and rare spikes.

The noise of a run from scratch is constant in nats and set by the number of tokens behind one logged value; that of a
fine-tuning is a share of the loss. It belongs to the data: a rerun on the same texts in the same order replays it,
whatever the machine.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from accelerate_sim.config.schema import RunConfig
from accelerate_sim.sim import noise
from accelerate_sim.sim.batch_ramp import BatchSchedule
from accelerate_sim.sim.curves.from_scratch import FromScratch
from accelerate_sim.sim.curves.instability import Instability
from accelerate_sim.sim.curves.loss_shape import Exponential, LossShape, shape_of
from accelerate_sim.sim.curves.texts import SPREAD, UNKNOWN_TEXTS, Texts
from accelerate_sim.sim.noise import Draws, Floats, Steps

NOISE_AT_HALF_MILLION_TOKENS = (0.033, 0.049)
"""Standard deviation, in nats, of a loss that is the mean over 5e5 tokens in texts of 1000."""
LEAST_NOISE = 0.005
MICRO_TAIL = 0.1
"""Growth of a micro-batch's deviation with its square: a kurtosis of 4.8, as in logs of one rank's loss (5 to 6)."""
MICRO_CORE = (1.0 + 6.0 * MICRO_TAIL + 15.0 * MICRO_TAIL**2) ** -0.5
"""Factor by which the deviations keep their variance with such tails."""
FINETUNE_NOISE_AT_8_SEQUENCES = (0.06, 0.23)
"""Standard deviation as a share of the loss, of the mean over 8 sequences of one conversation or instruction each."""
UNKNOWN_DATA_NOISE = 2.4
"""Factor on the noise if a model that has learned from other data goes on."""
MOST_RISE, MOST_FALL = 1.6, 3.0
"""Factors by which the loss is above and below its usual level while its noise changes with it."""
HARDENING = {"finetune": (-0.6, 1.8), "scratch": (-2.0, 1.0), "checkpoint": (0.0, 0.0)}
"""Range of the power of the loss's fall by which its noise grows: what all texts share is learned first."""
VALIDATION_NOISE = 0.0012
BLENDED_TOKENS = 1e6
"""From here on a batch is a blend of so many texts that its loss is Gaussian."""
SEED_LUCK = 0.008
"""Nats by which reruns with another seed differ in the end."""


@dataclass(frozen=True)
class BatchNoise:
    """Deviations of single batches from the trend, in units of a standard deviation."""

    seed: int
    skew: float
    odd_share: float
    """Share of the batches that are unlike the rest."""
    odd_upward: float
    """Share of those that are harder than the rest."""
    unevenness: float
    """Standard deviation of the logarithm of a batch's own noise: its mix of texts makes it noisier than others."""
    uneven_phi: float
    """Correlation of that from one batch to the next: kinds of texts come in runs."""
    balancing: float
    """Share of a batch's deviation that the next one makes up for: texts that were drawn are not drawn again."""
    wander: float
    """Share of the variance that persists from step to step (unshuffled shards)."""
    phi: float
    turn_step: float
    """Step at which another kind of shard begins, with noise and level of its own."""
    turn_factor: float
    turn_offset: float

    @classmethod
    def of(cls, seed: int, draws: Draws, step_tokens: float, finetune: bool, steps: int) -> "BatchNoise":
        web = step_tokens <= BLENDED_TOKENS and not finetune
        turns = steps > 3000 and not finetune and draws.chance("turn", 0.12)
        return cls(
            seed=seed,
            skew=draws.between("skew", -0.35, 0.75) if web else draws.between("skew", -0.5, 0.1),
            odd_share=draws.log("odd", 0.001, 0.025) if web else draws.log("odd", 0.0001, 0.002),
            odd_upward=0.8 if web else 0.5, unevenness=draws.between("uneven", 0.0, 0.25),
            uneven_phi=draws.between("uneven phi", 0.4, 0.95),
            balancing=draws.between("balancing", 0.02, 0.14) if draws.chance("balanced", 0.4) else 0.0,
            wander=draws.between("wander", 0.1, 0.4) if draws.chance("shards", 0.4) else 0.0,
            phi=draws.between("phi", 0.85, 0.97),
            turn_step=draws.between("turn step", 0.2, 0.8) * steps if turns else math.inf,
            turn_factor=draws.log("turn factor", 0.7, 1.6), turn_offset=draws.between("turn offset", -0.05, 0.05),
        )  # fmt: skip

    def at(self, steps: Steps) -> Floats:
        """Deviations of consecutive batches, in units of a standard deviation."""
        white = noise.skewed(self.seed, "loss/batch", self.skew, np.concatenate((steps[:1] - 1, steps)))
        white = (white[1:] - self.balancing * white[:-1]) / math.sqrt(1.0 + self.balancing**2)
        slowly = noise.persistent(self.seed, "loss/uneven", self.uneven_phi, steps)
        white *= np.exp(self.unevenness * slowly - self.unevenness**2)
        odd = noise.uniform(self.seed, "loss/odd", steps)
        # One batch in a few hundred is unlike the rest; the next one is normal again.
        size = 2.5 - 2.0 * np.log(noise.uniform(self.seed, "loss/odd size", steps))
        white = np.where(odd < self.odd_share, np.where(odd < self.odd_upward * self.odd_share, size, -size), white)
        if self.wander:
            slow = noise.persistent(self.seed, "loss/wander", self.phi, steps)
            white = np.sqrt(1.0 - self.wander) * white + np.sqrt(self.wander) * slow
        return np.asarray(white * np.where(steps < self.turn_step, 1.0, self.turn_factor))

    def offset(self, steps: Steps) -> Floats:
        """Nats by which the texts since the turn are harder."""
        return np.where(steps < self.turn_step, 0.0, self.turn_offset)


@dataclass(frozen=True)
class LossCurve:
    """One run's loss, in nats per token; steps count from 0."""

    seed: int
    """Seed of the data's order."""
    shape: LossShape
    luck: float
    gap: float
    """Validation loss minus training loss, in nats."""
    batch: BatchNoise
    batches: BatchSchedule
    sigmas: tuple[float, ...]
    """Noise of a step's loss in each stage of the batch's ramp: nats, or a share of the loss if it is ``relative``."""
    micro_sigma: float
    """Noise of one micro-batch's loss, in the same unit."""
    relative: bool
    usual: float
    """Loss at which the noise is ``sigmas``."""
    hardening: float
    """Power of the loss's fall by which the noise grows."""
    instability: Instability

    @classmethod
    def of(
        cls, config: RunConfig, seed: int, shape_seed: int, vocab: int, active_parameters: float, total_steps: int,
        *, texts: Texts = UNKNOWN_TEXTS, retokenized: bool = False,
    ) -> "LossCurve":  # fmt: skip
        """The loss of a run; ``shape_seed`` stands for model and data, ``seed`` for the order of the data.

        ``retokenized`` says that texts are cut into other tokens than the model's own.
        """
        train, own, draws = config.train, Draws(seed, "loss"), Draws(shape_seed, "loss")
        finetune = train.start == "finetune"
        step_tokens = train.global_batch * train.sequence_length
        batches = BatchSchedule.of(train)
        tokens = batches.sequences_before(total_steps) * train.sequence_length
        shape = shape_of(
            train, shape_seed, vocab, active_parameters, total_steps, tokens, texts, retokenized=retokenized
        )
        at_unit = draws.log("finetune sigma", *FINETUNE_NOISE_AT_8_SEQUENCES)
        if not finetune:
            at_unit = draws.between("sigma", *NOISE_AT_HALF_MILLION_TOKENS)
            # Tokens of one text are hard together: what averages out is texts, and a long sequence may be but one.
            text_tokens = texts.mean_tokens * draws.log("text tokens", *SPREAD)
            at_unit *= math.sqrt(min(text_tokens, train.sequence_length) / 1000)
        if train.start == "checkpoint":
            at_unit *= UNKNOWN_DATA_NOISE
        batch = BatchNoise.of(seed, draws, step_tokens, finetune, total_steps)
        luck = SEED_LUCK * own.between("luck", -1.0, 1.0)
        micro_sigma, *sigmas = (
            _finetune_sigma(at_unit, sequences) if finetune else _sigma(at_unit, sequences * train.sequence_length)
            for sequences in (train.micro_batch, *(stage.batch for stage in batches.stages))
        )
        instability = Instability.of(seed, train.lr, active_parameters, train.warmup_steps)
        hardening = draws.between("hardening", *HARDENING[train.start])
        if config.impose.first_loss is not None:
            first = own.between("imposed first", *config.impose.first_loss)
            shape = Exponential(total_steps, first, own.between("imposed last", *config.impose.last_loss))
            sigmas, micro_sigma, finetune, luck = [0.006 * first] * len(sigmas), 0.05 * first, False, 0.0
            hardening = 0.0
            instability = Instability(seed, 0.0, 0)
        return cls(
            seed=seed, shape=shape, luck=luck, gap=draws.between("gap", -0.015, 0.02), batch=batch, batches=batches,
            sigmas=tuple(sigmas), micro_sigma=micro_sigma, relative=finetune,
            usual=float(shape.at(np.array([0.0 if finetune else 0.6 * total_steps]))[0]),
            hardening=hardening, instability=instability,
        )  # fmt: skip

    def trend(self, step: Floats | Steps | float) -> Floats:
        """Expected training loss of optimizer step ``step``, before its update."""
        return self._lucky(self.shape.at, np.asarray(step, float))

    def _lucky(self, shape: Callable[[Floats], Floats], step: Floats) -> Floats:
        return np.asarray(np.maximum(shape(step) + self.luck * np.minimum(step / 1000.0, 1.0), 0.05))

    def residual(self, steps: Steps) -> Floats:
        """Noise of consecutive global batches in units of sigma."""
        return np.asarray(
            self.batch.at(steps) * self.shape.known(np.asarray(steps, float)) * self._not_memorised(steps)
        )

    def train(self, steps: Steps) -> Floats:
        """Loss of consecutive global batches, the mean over all ranks and micro-batches."""
        trend, own = self.trend(steps), self._sigma(steps) * self.residual(steps)
        own *= np.clip(self.usual / trend, 1.0 / MOST_RISE, MOST_FALL) ** self.hardening
        harder = self.batch.offset(steps) * self._not_memorised(steps)
        noisy = trend * np.exp(own) if self.relative else trend + own + harder
        return np.asarray(np.maximum(noisy + self.instability.loss_excess(steps), 0.05))

    def norm_log_excess(self, steps: Steps) -> Floats:
        """Logarithm of the factor on the gradient norm: that of spikes, and that of tokens that are known by heart.

        Those have no gradient, and the squares of the others add up.
        """
        return np.asarray(self.instability.norm_log_excess(steps) + 0.5 * np.log(self._not_memorised(steps)))

    def _not_memorised(self, steps: Steps) -> Floats | float:
        """Share of the texts that the model does not know by heart; the loss of others hardly differs."""
        if not isinstance(self.shape, FromScratch) or self.shape.repeated is None:
            return 1.0
        return np.asarray(1.0 - self.shape.memorised(np.asarray(steps, float)))

    def _sigma(self, steps: Steps) -> Floats | float:
        if len(self.sigmas) == 1:
            return self.sigmas[0]
        return np.asarray(np.array(self.sigmas)[self.batches.numbers(steps)])

    def micro_deviation(self, steps: Steps, replicas: int, micro_batches: int) -> Floats:
        """Deviations of micro-batches from their step's mean, [steps, micro_batches, replicas]; sum 0 a step.

        Each is the difference of two neighbours in a ring of independent normals, so the whole adds up to nothing.
        """
        own = noise.normal(self.seed, "loss/micro", steps[:, None], np.arange(micro_batches * replicas))
        # Few texts have heavier tails than many; the factor keeps the variance.
        nats = self._micro_nats(steps) * self._not_memorised(steps)
        own *= MICRO_CORE * (1.0 + MICRO_TAIL * own * own) * (nats[:, None] / np.sqrt(2.0))
        return _ring_differences(own).reshape(len(steps), micro_batches, replicas)

    def _micro_nats(self, steps: Steps) -> Floats:
        scale = 0.6 * self.trend(steps) if self.relative else self.shape.known(np.asarray(steps, float))
        return self.micro_sigma * scale

    def validation(self, step: int) -> float:
        """Validation loss after ``step`` updates: a fixed set, so nearly free of noise."""
        wobble = float(noise.normal(self.seed, "loss/validation", step)[0])
        expected = self._lucky(self.shape.unseen, np.asarray(float(step)))
        return max(float(expected) + self.gap + VALIDATION_NOISE * wobble, 0.05)

    def validation_deviation(self, step: int, batch: int, replicas: int) -> Floats:
        """Deviations of the replicas' validation micro-batches from their mean, [replicas]; they add up to 0."""
        own = noise.normal(self.seed, "loss/validation batch", batch, np.arange(replicas))
        return _ring_differences(own * (self._micro_nats(np.array([step]))[0] / np.sqrt(2.0)))


def _ring_differences(own: Floats) -> Floats:
    """Each element less the next one along the last axis, the last less the first."""
    result = np.empty_like(own)
    np.subtract(own[..., :-1], own[..., 1:], out=result[..., :-1])
    np.subtract(own[..., -1], own[..., 0], out=result[..., -1])
    return result


def _sigma(at_half_million: float, tokens: float) -> float:
    return min(max(at_half_million * math.sqrt(5e5 / tokens), LEAST_NOISE), 0.25)


def _finetune_sigma(at_8_sequences: float, sequences: float) -> float:
    return min(max(at_8_sequences * math.sqrt(8.0 / sequences), 0.004), 0.5)
