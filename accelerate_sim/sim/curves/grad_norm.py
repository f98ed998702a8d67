"""Gradient norm before clipping: a steep start, a slow fall to a plateau, a right-skewed band, and rare spikes.

Levels and habits follow from model, data and batch; the noise belongs to the data, as the loss's does. A batch whose
loss is far off has a large gradient too, and before the loss leaps the norm does. Ranges from public logs.
"""

import math
from dataclasses import dataclass

import numpy as np

from accelerate_sim.config.schema import TrainConfig
from accelerate_sim.sim import noise
from accelerate_sim.sim.batch_ramp import BatchSchedule
from accelerate_sim.sim.noise import Draws, Floats, Steps

SMALL_BATCH_TOKENS = 2e5
"""Below it the norm is mostly the batch's noise, which grows like the root of fewer tokens."""

HIGHEST_PLATEAU = 5.0


@dataclass(frozen=True)
class FromScratchLevel:
    """A start of 6-25, a fall over the first thousand steps, a plateau that drifts."""

    total_steps: int
    sequence_length: int
    batches: BatchSchedule
    start: float
    start_steps: float
    second: float
    second_steps: float
    second_power: float
    plateau: float
    drift: float
    drift_power: float

    @classmethod
    def of(cls, train: TrainConfig, draws: Draws, total_steps: int) -> "FromScratchLevel":
        patience = max(1.0, train.warmup_steps / 100) ** 0.5  # nothing changes while the rate is tiny
        return cls(
            total_steps=total_steps, sequence_length=train.sequence_length, batches=BatchSchedule.of(train),
            start=draws.log("start", 6, 25),
            start_steps=draws.log("start steps", 2, 8) * patience, second=draws.between("second", 1.4, 2.6),
            second_steps=draws.log("second steps", 8, 25) * patience,
            second_power=draws.between("second power", 0.38, 0.55),
            plateau=draws.log("plateau", 0.15, 0.6),
            drift=draws.between("drift", -0.25, 0.35), drift_power=draws.between("drift power", 0.7, 2.0),
        )  # fmt: skip

    def at(self, steps: Steps) -> Floats:
        tokens = np.asarray(self.batches.batches(steps)) * self.sequence_length
        noisy = np.maximum(1.0, SMALL_BATCH_TOKENS / tokens) ** 0.5
        plateau = np.minimum(self.plateau * noisy, HIGHEST_PLATEAU)
        start = self.start / (1.0 + (steps / self.start_steps) ** 1.6)
        second = self.second * noisy * (1.0 + steps / self.second_steps) ** -self.second_power
        done = np.clip(steps / max(self.total_steps, 1), 0.0, 1.0)
        return np.asarray((plateau**4 + (start + second) ** 4) ** 0.25 * np.exp(self.drift * done**self.drift_power))


@dataclass(frozen=True)
class FineTunedLevel:
    """A short start above a plateau of any height, which then drifts, down more often than up."""

    total_steps: int
    start_factor: float
    start_share: float
    plateau: float
    drift: float
    drift_power: float

    @classmethod
    def of(cls, draws: Draws, total_steps: int) -> "FineTunedLevel":
        return cls(
            total_steps, draws.log("tune start", 1.3, 12), draws.log("tune start share", 0.003, 0.02),
            draws.log("tune plateau", 0.15, 8.0), draws.between("tune drift", -1.8, 0.7),
            draws.between("tune drift power", 0.5, 1.5),
        )  # fmt: skip

    def at(self, steps: Steps) -> Floats:
        done = np.clip(steps / max(self.total_steps, 1), 0.0, 1.0)
        start = (self.start_factor - 1.0) / (1.0 + (done / self.start_share) ** 1.6)
        return np.asarray(self.plateau * (1.0 + start) * np.exp(self.drift * done**self.drift_power))


@dataclass(frozen=True)
class GradNormCurve:
    """One run's gradient norm."""

    seed: int
    """Of the data's order."""
    shape: FromScratchLevel | FineTunedLevel
    sigma: float
    """Of the logarithm."""
    skew: float
    memory: float
    """Share of the variance that persists."""
    phi: float
    loss_coupling: float
    odd_coupling: float
    """What a loss that is far off adds, in units of sigma for each of its own."""
    spike_share: float
    spike_size: float
    spike_tails: tuple[float, float, float]
    """What is left of a spike's log excess in the steps after it."""
    spike_limit: float

    @classmethod
    def of(cls, train: TrainConfig, seed: int, shape_seed: int, total_steps: int) -> "GradNormCurve":
        draws = Draws(shape_seed, "grad norm")
        finetune = train.start == "finetune"
        few = train.global_batch * train.sequence_length < SMALL_BATCH_TOKENS
        sigma = draws.log("sigma", 0.06, 0.13) if few else draws.log("sigma", 0.045, 0.095)
        if finetune:
            sigma = (
                draws.log("tune sigma", 0.3, 0.65) if train.global_batch <= 16 else draws.log("tune sigma", 0.07, 0.3)
            )
        rough = finetune and train.global_batch <= 64  # a few odd conversations make a batch
        return cls(
            seed=seed,
            shape=FineTunedLevel.of(draws, total_steps) if finetune else FromScratchLevel.of(train, draws, total_steps),
            sigma=sigma, skew=draws.between("skew", 0.45, 0.9),
            memory=draws.between("tune memory", 0.0, 0.12) if finetune else draws.between("memory", 0.2, 0.45),
            phi=draws.between("tune phi", 0.8, 0.95) if finetune else draws.between("phi", 0.72, 0.86),
            loss_coupling=draws.between("tune coupling" if finetune else "coupling", 0.0, 0.4 if finetune else 0.15),
            odd_coupling=draws.between("odd coupling", 0.0, 0.45),
            spike_share=draws.log("tune spike share", 0.02, 0.1) if finetune else draws.log("spike share", 0.006, 0.04),
            spike_size=draws.log("rough spike size", 0.25, 0.8) if rough else draws.log("spike size", 0.08, 0.35),
            spike_tails=(1.0, draws.between("after", 0.2, 0.5), draws.between("after that", 0.1, 0.3)),
            spike_limit=math.log(300.0) if rough else math.log(9.0),
        )  # fmt: skip

    def level(self, steps: Steps) -> Floats:
        """The norm without its noise."""
        return self.shape.at(steps)

    def values(self, steps: Steps, loss_residual: Floats, leap_log_excess: Floats | float = 0.0) -> Floats:
        """The norm of consecutive steps, given the loss's noise at them in units of its deviation, and its leaps."""
        x = noise.skewed(self.seed, "grad norm/batch", self.skew, steps)
        if self.memory:
            slow = noise.persistent(self.seed, "grad norm/memory", self.phi, steps)
            x = np.sqrt(1.0 - self.memory) * x + np.sqrt(self.memory) * slow
        far = np.minimum(np.maximum(np.abs(loss_residual) - 1.2, 0.0), 6.0)
        x = x + self.loss_coupling * loss_residual + self.odd_coupling * far
        return np.asarray(self.level(steps) * np.exp(self.sigma * x + self._spikes(steps) + leap_log_excess))

    def _spikes(self, steps: Steps) -> Floats:
        """Log excess of spikes, each fading over the two steps after it."""
        tails = len(self.spike_tails)
        born = np.arange(steps[0] - tails + 1, steps[-1] + 1)
        hit = noise.uniform(self.seed, "grad norm/spike", born) < self.spike_share
        size = 2.2 * self.sigma + self.spike_size * noise.exponential(self.seed, "grad norm/spike size", born)
        excess = np.where(hit, np.minimum(size, self.spike_limit), 0.0)
        total = np.zeros(len(steps))
        for age, share in enumerate(self.spike_tails):
            total += share * excess[tails - 1 - age : len(excess) - age]
        return total
