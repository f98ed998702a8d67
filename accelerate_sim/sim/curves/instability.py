"""Rare spikes of the loss: the gradient norm grows, some steps later the loss is high, and both return.

Rates: none to one in 1e5 steps of well-tuned public runs, more where the learning rate is high for the model's size.
The shape is that of the chronicles of BLOOM 176B and of an 8B run: the norm leads by 2-5 steps and grows a hundredfold,
the loss rises within a few steps and returns exponentially in some dozens.
"""

import math
from dataclasses import dataclass

import numpy as np

from accelerate_sim.sim import noise
from accelerate_sim.sim.noise import Draws, Floats, Steps

RATE_PER_STEP = 4e-6
"""Probability per step that a spike begins at the learning rate that is usual for the model's size."""
LONGEST = 320
"""Steps after which a spike is over: eight times the longest recovery."""


def usual_learning_rate(parameters: float) -> float:
    """Peak rate of published runs by size: 6e-4 at 0.1B ... 3e-4 at 7B, 8e-5 at 405B."""
    return float(3e-4 * min((7e9 / parameters) ** 0.3, 4.0))


@dataclass(frozen=True)
class Leap:
    """A spike of the loss that begins with the gradient norm."""

    start: int
    lead_steps: int
    """Steps by which the gradient norm leads the loss."""
    height: float
    """Height of the loss above its trend in nats."""
    norm_log_height: float
    recovery_steps: float

    def loss_excess(self, steps: Steps) -> Floats:
        """Nats above the trend, before the roughness of single steps."""
        age = steps - self.start - self.lead_steps
        risen = (1.0 - np.exp(-(age + 1.0) / 3.0)) * np.exp(-age / self.recovery_steps)
        return np.asarray(np.where((age >= 0) & (age < LONGEST), self.height * risen, 0.0))

    def norm_log_excess(self, steps: Steps) -> Floats:
        """Logarithm of the factor on the gradient norm."""
        age = steps - self.start
        rise = np.clip((age + 1.0) / (self.lead_steps + 2.0), 0.0, 1.0)
        fall = np.exp(-np.maximum(age - self.lead_steps - 1.0, 0.0) / (0.6 * self.recovery_steps))
        return np.asarray(np.where((age >= 0) & (age < LONGEST), self.norm_log_height * rise * fall, 0.0))


@dataclass(frozen=True)
class Instability:
    """All spikes of a run, each a pure function of the seed and the step at which it begins."""

    seed: int
    rate: float
    """Probability that one begins in a step."""
    first_step: int
    """Step before which no spike begins, as the learning rate is still warming up."""

    @classmethod
    def of(cls, seed: int, lr: float, parameters: float, warmup_steps: int) -> "Instability":
        excess = min(max((lr / usual_learning_rate(parameters)) ** 2, 0.2), 20.0)
        return cls(seed, RATE_PER_STEP * excess, max(warmup_steps, 20))

    def during(self, steps: Steps) -> list[Leap]:
        """Spikes that touch some of these consecutive steps."""
        if not self.rate:
            return []
        start = np.arange(max(int(steps[0]) - LONGEST, self.first_step), int(steps[-1]) + 1)
        if not len(start):
            return []
        hits = start[noise.uniform(self.seed, "leap", start) < self.rate]
        return [self._leap(int(step)) for step in hits]

    def _leap(self, start: int) -> Leap:
        draws = Draws(self.seed, f"leap/{start}")
        return Leap(
            start, 2 + int(4 * draws.between("lead", 0.0, 1.0)), draws.between("height", 0.4, 2.5),
            draws.between("norm", math.log(4), math.log(300)), draws.log("recovery", 6, 40),
        )  # fmt: skip

    def loss_excess(self, steps: Steps) -> Floats:
        """Nats above the trend at consecutive steps."""
        total = np.zeros(len(steps))
        for leap in self.during(steps):
            total += leap.loss_excess(steps)
        if not total.any():
            return total
        return np.asarray(total * np.exp(0.35 * noise.normal(self.seed, "leap/rough", steps)))

    def norm_log_excess(self, steps: Steps) -> Floats:
        """Logarithm of the factor on the gradient norm at consecutive steps."""
        total = np.zeros(len(steps))
        for leap in self.during(steps):
            total += leap.norm_log_excess(steps)
        return total
