"""Training and validation loss: the shape of the run, the noise of its batches, and rare spikes.

The noise of a run from scratch is in nats and set by the number of tokens behind one logged value; that of a
fine-tuning is a share of the loss. Both change with the fall of the loss by a power of the run's own. The noise
belongs to the data: a rerun on the same texts in the same order replays it, whatever the machine.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from accelerate_sim.config.schema import RunConfig
from accelerate_sim.sim import noise
from accelerate_sim.sim.batch_ramp import BatchSchedule
from accelerate_sim.sim.curves.batch_noise import BatchNoise
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
HARDENING = {"finetune": (-0.6, 1.8), "scratch": (-1.0, 1.2), "checkpoint": (0.0, 0.0)}
"""Range of the power of the loss's fall by which its noise grows: what all texts share is learned first."""
VALIDATION_NOISE = 0.0012
SEED_LUCK = 0.008
"""Nats by which reruns with another seed differ in the end."""


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

    def train(self, steps: Steps, residual: Floats | None = None) -> Floats:
        """Loss of consecutive global batches, the mean over all ranks and micro-batches.

        ``residual`` is their noise, if it has been computed before.
        """
        residual = self.residual(steps) if residual is None else residual
        trend, own = self.trend(steps), self._sigma(steps) * residual
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
