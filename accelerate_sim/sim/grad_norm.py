"""Gradient norm before clipping: a steep start, a slow fall to a plateau, a right-skewed band, and rare spikes.

Ranges from public logs. A batch whose loss is far off has a large gradient too, so the norm leans on the loss's noise.
"""

from dataclasses import dataclass

import numpy as np

from accelerate_sim.sim import noise
from accelerate_sim.sim.loss import Steps
from accelerate_sim.sim.noise import Draws, Floats

SPIKE_TAILS = (1.0, 0.35, 0.2)
"""What is left of a spike's log excess in the steps after it."""


@dataclass(frozen=True)
class GradNormCurve:
    """The parameters of one run's gradient norm."""

    seed: int
    total_steps: int
    start: float
    start_steps: float
    second: float
    second_steps: float
    second_power: float
    plateau: float
    drift: float
    sigma: float
    skew: float
    memory: float
    phi: float
    loss_coupling: float
    spike_share: float
    spike_size: float

    @classmethod
    def of(cls, seed: int, tokens_per_step: int, total_steps: int) -> "GradNormCurve":
        draws = Draws(seed, "grad norm")
        return cls(
            seed=seed, total_steps=total_steps,
            start=draws.log("start", 6, 25), start_steps=draws.log("start steps", 2, 8),
            second=draws.between("second", 1.4, 2.6), second_steps=draws.log("second steps", 8, 25),
            second_power=draws.between("second power", 0.38, 0.55), plateau=draws.log("plateau", 0.15, 0.6),
            drift=draws.between("drift", -0.25, 0.35),
            sigma=draws.log("sigma", 0.045, 0.085) if tokens_per_step >= 2e5 else draws.log("sigma", 0.05, 0.12),
            skew=draws.between("skew", 0.45, 0.9), memory=draws.between("memory", 0.2, 0.45),
            phi=draws.between("phi", 0.72, 0.86),
            loss_coupling=draws.between("coupling", 0.05, 0.2),
            spike_share=draws.log("spike share", 0.004, 0.02), spike_size=draws.log("spike size", 0.12, 0.45),
        )  # fmt: skip

    def level(self, steps: Steps) -> Floats:
        """The norm without its noise."""
        start = self.start / (1.0 + (steps / self.start_steps) ** 1.6)
        second = self.second * (1.0 + steps / self.second_steps) ** -self.second_power
        drift = np.exp(self.drift * np.clip(steps / max(self.total_steps, 1), 0.0, 1.0) ** 1.2)
        return np.asarray((self.plateau**4 + (start + second) ** 4) ** 0.25 * drift)

    def values(self, steps: Steps, loss_residual: Floats) -> Floats:
        """The norm of consecutive steps, given the loss's noise at them in units of its deviation."""
        white = noise.skewed(self.seed, "grad norm/batch", self.skew, steps)
        slow = noise.persistent(self.seed, "grad norm/memory", self.phi, steps)
        x = np.sqrt(1.0 - self.memory) * white + np.sqrt(self.memory) * slow
        x = x + self.loss_coupling * loss_residual + 0.4 * np.maximum(np.abs(loss_residual) - 1.5, 0.0)
        return np.asarray(self.level(steps) * np.exp(self.sigma * x + self._spikes(steps)))

    def _spikes(self, steps: Steps) -> Floats:
        """Log excess of spikes, each fading over the two steps after it."""
        total = np.zeros(len(steps))
        for age, share in enumerate(SPIKE_TAILS):
            born = steps - age
            hit = noise.uniform(self.seed, "grad norm/spike", born) < self.spike_share
            size = 2.2 * self.sigma + self.spike_size * noise.exponential(self.seed, "grad norm/spike size", born)
            total += np.where(hit, share * np.minimum(size, 1.8), 0.0)
        return total
