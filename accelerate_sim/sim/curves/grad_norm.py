"""Gradient norm before clipping: its level over a run, the noise of its batches, and rare spikes.

Levels follow from the model, the batch and the learning rate's schedule; habits of a data set are drawn once from the
names of model and data. The noise belongs to the data, as the loss's does: a batch whose loss is far off has a large
gradient too, and before the loss leaps the norm does. Shapes and ranges were measured on public training logs.
"""

import math
from dataclasses import dataclass

import numpy as np

from accelerate_sim.config.sections.train import TrainConfig
from accelerate_sim.sim import noise
from accelerate_sim.sim.batch_ramp import BatchSchedule
from accelerate_sim.sim.curves.from_scratch import slow_time_constant
from accelerate_sim.sim.curves.schedule import full_rate_steps
from accelerate_sim.sim.noise import Draws, Floats, Steps

SMALL_BATCH_TOKENS = 2e5
"""Tokens a step below which single batches differ more in their norm."""
NOISY_TOKENS = 3.5e5
"""Tokens a step at which the noise of the batch makes as much of the settled norm's square as the true gradient.

With it 124M settles at 0.26 for half a million tokens a step and at 0.7 for 32,768, as logs of three teams do.
"""
SETTLED_NORM = (0.165, 0.24)
"""Range of the norm of the true gradient of a model that has settled."""
HIGHEST_PLATEAU = 5.0
"""Highest settled norm, however small the batch is."""
START_STEPS = 0.2
"""Steps of the first fall over the root of the warm-up's: 5.3 where that takes 715 steps, 2 where it takes 100."""
HUMP_SHARE = 0.36
"""Steps at the peak rate until the hump, over the time constant of the loss's slow fall: 60 of 167 for 124M."""
HUMP_TOKENS = 5e5
"""Tokens a step of the logs in which the hump was measured; in larger batches less of it is noise."""
SHORT_WARMUP, LONG_WARMUP = 80, 450
"""Steps of warm-up up to which the first fall hides the hump, and from which a dip is seen before it."""


@dataclass(frozen=True)
class FromScratchLevel:
    """The level of a run from scratch: a steep fall, a dip, a hump while the rate rises, and a slow fall to a plateau.

    The norm is 15 at first, 4.5 at step 10, 0.75 at 100, 1.1 at 350 and 0.3 at 2,000 for 124M with a warm-up of 715.
    The hump is where the model begins to use more of a text than how often each token occurs.
    """

    train: TrainConfig
    total_steps: int
    sequence_length: int
    batches: BatchSchedule
    start: float
    start_steps: float
    second: float
    second_steps: float
    hump: float
    hump_steps: float
    """Steps at the peak rate until the hump's top."""
    settled: float
    drift: float
    drift_power: float

    @classmethod
    def of(cls, train: TrainConfig, draws: Draws, total_steps: int, parameters: float) -> "FromScratchLevel":
        """Draw the level of a model of this size."""
        warmup = min(train.warmup_steps, total_steps)
        hump_steps = HUMP_SHARE * slow_time_constant(train, parameters) * draws.log("hump steps", 0.8, 1.25)
        warm = warmup / 2.0  # steps at the peak rate that the warm-up is worth
        hump_at = math.sqrt(2.0 * warmup * hump_steps) if warm > hump_steps else hump_steps + warm
        long = min(max((warmup - SHORT_WARMUP) / (LONG_WARMUP - SHORT_WARMUP), 0.0), 1.0)
        return cls(
            train=train, total_steps=total_steps, sequence_length=train.sequence_length,
            batches=BatchSchedule.of(train), start=draws.log("start", 9, 20),
            start_steps=max(START_STEPS * math.sqrt(warmup), 1.0) * draws.log("start steps", 0.8, 1.3),
            second=draws.between("second", 1.15, 1.5), second_steps=hump_at * (0.6 - 0.4 * long),
            hump=draws.between("hump", 0.78, 0.96) * (0.5 + 0.5 * long), hump_steps=hump_steps,
            settled=draws.log("settled", *SETTLED_NORM),
            drift=draws.between("drift", -0.25, 0.3), drift_power=draws.between("drift power", 0.7, 2.0),
        )  # fmt: skip

    def at(self, steps: Steps) -> Floats:
        """The level at these steps."""
        tokens = np.asarray(self.batches.batches(steps)) * self.sequence_length
        plateau = np.minimum(self.settled * np.sqrt(1.0 + NOISY_TOKENS / tokens), HIGHEST_PLATEAU)
        start = self.start / (1.0 + (steps / self.start_steps) ** 1.6)
        second = self.second / (1.0 + (steps / self.second_steps) ** 2)
        way = np.maximum(full_rate_steps(self.train, self.total_steps, steps) / self.hump_steps, 1e-6)
        hump = 2.0 * self.hump / (1.0 / way + way**0.8)
        hump = hump * np.sqrt((1.0 + NOISY_TOKENS / tokens) / (1.0 + NOISY_TOKENS / HUMP_TOKENS))
        done = np.clip(steps / max(self.total_steps, 1), 0.0, 1.0)
        level = np.sqrt(plateau**2 + (start + second + hump) ** 2)
        return np.asarray(level * np.exp(self.drift * done**self.drift_power))


@dataclass(frozen=True)
class FineTunedLevel:
    """The level of a fine-tuning: flat or slowly rising, after a short start that is high only on unfamiliar data."""

    total_steps: int
    start_factor: float
    start_share: float
    plateau: float
    drift: float
    drift_power: float

    @classmethod
    def of(cls, train: TrainConfig, draws: Draws, total_steps: int) -> "FineTunedLevel":
        """Draw the level of a model and its data; a pretraining that goes on keeps the norm it had."""
        plateau = draws.log("tune plateau", 0.15, 8.0)
        if train.start == "checkpoint":
            tokens = train.global_batch * train.sequence_length
            plateau = draws.log("settled", *SETTLED_NORM) * math.sqrt(1.0 + NOISY_TOKENS / tokens)
        unfamiliar, falls = draws.chance("unfamiliar", 0.3), draws.chance("tune falls", 0.15)
        return cls(
            total_steps,
            draws.log("tune start", 1.7, 8.0) if unfamiliar else draws.log("familiar start", 0.7, 1.5),
            draws.log("tune start share", 0.003, 0.02), plateau,
            draws.between("tune fall", -1.3, -0.35) if falls else draws.between("tune drift", -0.25, 0.6),
            draws.between("tune drift power", 0.5, 1.5),
        )  # fmt: skip

    def at(self, steps: Steps) -> Floats:
        """The level at these steps."""
        done = np.clip(steps / max(self.total_steps, 1), 0.0, 1.0)
        start = (self.start_factor - 1.0) / (1.0 + (done / self.start_share) ** 1.6)
        return np.asarray(self.plateau * (1.0 + start) * np.exp(self.drift * done**self.drift_power))


@dataclass(frozen=True)
class GradNormCurve:
    """The gradient norm of one run at every step."""

    seed: int
    """Seed of the data's order."""
    shape: FromScratchLevel | FineTunedLevel
    sigma: float
    """Standard deviation of the norm's logarithm from batch to batch."""
    skew: float
    memory: float
    """Share of the variance that persists from step to step."""
    phi: float
    unevenness: float
    """Standard deviation of the logarithm of a batch's own deviation: one with an odd mix of texts is odd in both."""
    loss_coupling: float
    """Units of sigma that the norm is higher for each standard deviation that the batch's loss is higher."""
    odd_coupling: float
    """Units of sigma that the norm is higher for each standard deviation that the loss is off beyond 1.2."""
    spike_share: float
    spike_size: float
    spike_tails: tuple[float, float, float]
    """Shares of a spike's log excess at its own step and at the two after it."""
    spike_limit: float

    @classmethod
    def of(cls, train: TrainConfig, seed: int, shape_seed: int, total_steps: int, parameters: float) -> "GradNormCurve":
        """The norm of a run; ``seed`` is that of the data's order, ``shape_seed`` stands for model and data."""
        draws = Draws(shape_seed, "grad norm")
        if train.start != "scratch":
            return cls._of_finetuning(train, draws, seed, total_steps)
        few = train.global_batch * train.sequence_length < SMALL_BATCH_TOKENS
        return cls(
            seed=seed, shape=FromScratchLevel.of(train, draws, total_steps, parameters),
            sigma=draws.log("sigma", 0.042, 0.17) if few else draws.log("sigma", 0.038, 0.1),
            skew=draws.between("skew", 0.5, 0.97),
            memory=draws.between("memory", 0.2, 0.45), phi=draws.between("phi", 0.72, 0.86),
            unevenness=draws.between("uneven", 0.0, 0.35),
            loss_coupling=draws.log("coupling", 0.05, 0.5), odd_coupling=draws.between("odd coupling", 0.0, 0.6),
            spike_share=draws.log("spike share", 0.003, 0.025), spike_size=draws.log("spike size", 0.15, 0.45),
            spike_tails=(1.0, draws.between("after", 0.2, 0.5), draws.between("after that", 0.1, 0.3)),
            spike_limit=math.log(14.0),
        )  # fmt: skip

    @classmethod
    def _of_finetuning(cls, train: TrainConfig, draws: Draws, seed: int, total_steps: int) -> "GradNormCurve":
        # A batch of a few conversations is as odd as each of them; what single ones add averages out in large batches.
        uneven = train.global_batch <= 8 and draws.chance("uneven conversations", 0.35)
        per_sequence = draws.log("tune sigma", 0.35, 1.1) / math.sqrt(train.global_batch)
        sigma = draws.log("uneven sigma", 0.3, 0.6) if uneven else min(max(per_sequence, 0.035), 0.4)
        return cls(
            seed=seed, shape=FineTunedLevel.of(train, draws, total_steps), sigma=sigma,
            skew=draws.between("uneven skew", 0.6, 0.9) if uneven else draws.between("tune skew", 0.0, 0.95),
            memory=draws.between("tune memory", 0.0, 0.4), phi=draws.between("tune phi", 0.8, 0.95),
            unevenness=draws.between("tune uneven", 0.0, 0.3),
            loss_coupling=draws.log("tune coupling", 0.05, 1.0),
            odd_coupling=draws.between("tune odd coupling", 0.05, 0.5),
            spike_share=draws.log("tune spike share", 0.0005, 0.012),
            spike_size=draws.log("tune spike size", 0.15, 0.6),
            spike_tails=(1.0, draws.between("after", 0.0, 0.4), draws.between("after that", 0.0, 0.2)),
            spike_limit=math.log(300.0) if uneven else math.log(20.0),
        )  # fmt: skip

    def level(self, steps: Steps) -> Floats:
        """The norm without its noise."""
        return self.shape.at(steps)

    def values(
        self, steps: Steps, loss_residual: Floats, log_excess: Floats | float = 0.0, mix: Floats | float = 0.0
    ) -> Floats:
        """The norm of consecutive steps, given the loss's noise at them in units of its deviation.

        ``log_excess`` is the logarithm of a factor on it, ``mix`` how odd the batches' mix of texts is.
        """
        x = noise.skewed(self.seed, "grad norm/batch", self.skew, steps)
        if self.memory:
            slow = noise.persistent(self.seed, "grad norm/memory", self.phi, steps)
            x = np.sqrt(1.0 - self.memory) * x + np.sqrt(self.memory) * slow
        x *= np.exp(self.unevenness * mix - self.unevenness**2)
        far = np.minimum(np.maximum(np.abs(loss_residual) - 1.2, 0.0), 6.0)
        x = x + self.loss_coupling * loss_residual + self.odd_coupling * far
        return np.asarray(self.level(steps) * np.exp(self.sigma * x + self._spikes(steps) + log_excess))

    def _spikes(self, steps: Steps) -> Floats:
        """Log excess of spikes, each fading over the two steps after it."""
        tails = len(self.spike_tails)
        starts = np.arange(steps[0] - tails + 1, steps[-1] + 1)
        hit = noise.uniform(self.seed, "grad norm/spike", starts) < self.spike_share
        size = 2.2 * self.sigma + self.spike_size * noise.exponential(self.seed, "grad norm/spike size", starts)
        excess = np.where(hit, np.minimum(size, self.spike_limit), 0.0)
        total = np.zeros(len(steps))
        for age, share in enumerate(self.spike_tails):
            total += share * excess[tails - 1 - age : len(excess) - age]
        return total
