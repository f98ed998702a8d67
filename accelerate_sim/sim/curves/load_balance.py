"""The load-balancing loss of a mixture of experts: 1 where every expert gets as many tokens.

It is the number of experts times the sum over experts of their share of the tokens and their mean router probability
(Fedus et al. 2021), before its coefficient, as Megatron-LM and NeMo print it. A fresh router is even; it comes to
prefer some experts while the model begins to learn, and the loss drives it back. No public log of it was measured: the
ranges are assumptions.
"""

from dataclasses import dataclass

import numpy as np

from accelerate_sim.config.sections.train import TrainConfig
from accelerate_sim.sim import noise
from accelerate_sim.sim.curves.from_scratch import slow_time_constant
from accelerate_sim.sim.curves.schedule import full_rate_steps
from accelerate_sim.sim.noise import Draws, Floats, Steps


@dataclass(frozen=True)
class LoadBalance:
    """The load-balancing loss of one run at every step."""

    seed: int
    train: TrainConfig
    total_steps: int
    settled: float
    """Excess over 1 that is left when the router has settled."""
    hump: float
    """Excess over 1 that is added where the router is least even."""
    hump_steps: float
    """Steps at the peak rate until then."""
    spread: float
    """Standard deviation of the excess from batch to batch, as a share of it."""

    @classmethod
    def of(
        cls, train: TrainConfig, seed: int, shape_seed: int, total_steps: int, active_parameters: float
    ) -> "LoadBalance":
        """Draw the loss; ``seed`` is that of the data's order, ``shape_seed`` stands for model and data."""
        draws = Draws(shape_seed, "load balance")
        fresh = train.start == "scratch"
        return cls(
            seed=seed, train=train, total_steps=total_steps, settled=draws.log("settled", 0.015, 0.06),
            hump=draws.log("hump", 0.06, 0.3) if fresh else 0.0,
            hump_steps=0.3 * slow_time_constant(train, active_parameters) * draws.log("hump steps", 0.7, 1.5),
            spread=draws.between("spread", 0.02, 0.06),
        )  # fmt: skip

    def values(self, steps: Steps) -> Floats:
        """The loss at consecutive steps; it is never below 1."""
        way = np.maximum(full_rate_steps(self.train, self.total_steps, steps) / self.hump_steps, 1e-6)
        excess = self.settled + 2.0 * self.hump / (1.0 / way + way)
        slow = noise.persistent(self.seed, "load balance/slow", 0.9, steps)
        quick = noise.normal(self.seed, "load balance/batch", steps)
        return np.asarray(1.0 + excess * np.exp(self.spread * (0.8 * quick + 0.6 * slow)))
