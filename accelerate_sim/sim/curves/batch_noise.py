"""Noise of single batches: most are near the trend, some are odd, and kinds of texts come in runs."""

import math
from dataclasses import dataclass

import numpy as np

from accelerate_sim.sim import noise
from accelerate_sim.sim.noise import Draws, Floats, Steps

BLENDED_TOKENS = 1e6
"""From here on a batch is a blend of so many texts that its loss is Gaussian."""


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
            phi=draws.between("phi", 0.75, 0.95),
            turn_step=draws.between("turn step", 0.2, 0.8) * steps if turns else math.inf,
            turn_factor=draws.log("turn factor", 0.7, 1.6), turn_offset=draws.between("turn offset", -0.05, 0.05),
        )  # fmt: skip

    def at(self, steps: Steps) -> Floats:
        """Deviations of consecutive batches, in units of a standard deviation."""
        white = noise.skewed(self.seed, "loss/batch", self.skew, np.concatenate((steps[:1] - 1, steps)))
        white = (white[1:] - self.balancing * white[:-1]) / math.sqrt(1.0 + self.balancing**2)
        white *= np.exp(self.unevenness * self.mix(steps) - self.unevenness**2)
        odd = noise.uniform(self.seed, "loss/odd", steps)
        # One batch in a few hundred is unlike the rest; the next one is normal again.
        size = 2.5 - 2.0 * np.log(noise.uniform(self.seed, "loss/odd size", steps))
        white = np.where(odd < self.odd_share, np.where(odd < self.odd_upward * self.odd_share, size, -size), white)
        if self.wander:
            slow = noise.persistent(self.seed, "loss/wander", self.phi, steps)
            white = np.sqrt(1.0 - self.wander) * white + np.sqrt(self.wander) * slow
        return np.asarray(white * np.where(steps < self.turn_step, 1.0, self.turn_factor))

    def mix(self, steps: Steps) -> Floats:
        """Return how odd the mix of texts is in consecutive batches, in standard deviations."""
        return noise.persistent(self.seed, "loss/uneven", self.uneven_phi, steps)

    def offset(self, steps: Steps) -> Floats:
        """Nats by which the texts since the turn are harder."""
        return np.where(steps < self.turn_step, 0.0, self.turn_offset)
