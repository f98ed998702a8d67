"""Seconds of each step: a tight core with a heavy right tail, slow first steps, hiccups that come back, and incidents.

Classes and ranges as measured on public logs: most GPU clusters keep their core within 0.2-0.7 %.
"""

from dataclasses import dataclass

import numpy as np

from accelerate_sim.sim import noise
from accelerate_sim.sim.incidents import Incidents
from accelerate_sim.sim.loss import Steps
from accelerate_sim.sim.noise import Draws, Floats

LEVEL_STEPS = 700
"""Steps for which the cluster keeps a level: clocks, fragmentation and routes shift now and then."""


@dataclass(frozen=True)
class StepTimes:
    """The parameters of one run's step times."""

    seed: int
    mean_s: float
    compute_share: float
    """Share of the step that a slow rank stretches."""
    core: float
    memory: float
    level: float
    straggler_share: float
    straggler_size: float
    stall_share: float
    period: int
    period_size: float
    first_extra_s: float
    incidents: Incidents
    imposed: tuple[float, float] | None

    @classmethod
    def of(
        cls, seed: int, mean_s: float, compute_share: float, incidents: Incidents, imposed: tuple[float, float] | None
    ) -> "StepTimes":
        draws = Draws(seed, "step time")
        periods = (50, 100, 200, 250, 500)
        pick = int(draws.between("period", 0, len(periods)))
        return cls(
            seed=seed, mean_s=mean_s, compute_share=compute_share,
            core=draws.log("core", 0.0018, 0.006), memory=draws.between("memory", 0.2, 0.6),
            level=draws.log("level", 0.0008, 0.004),
            straggler_share=draws.log("straggler", 0.004, 0.03), straggler_size=draws.log("straggler size", 0.02, 0.12),
            stall_share=draws.log("stall", 0.0003, 0.002),
            period=periods[pick], period_size=draws.log("period size", 0.01, 0.06),
            # Kernels are chosen, buffers are grown and connections are made in the first step.
            first_extra_s=min(draws.log("first", 4, 40), 60 * mean_s), incidents=incidents, imposed=imposed,
        )  # fmt: skip

    def seconds(self, steps: Steps) -> Floats:
        """Seconds of consecutive steps, to the microsecond."""
        slowdown = 1.0 + self.compute_share * (self.incidents.slowdown(steps) - 1.0)
        if self.imposed:
            return np.asarray(np.round(np.minimum(self._imposed(steps) * slowdown, self.imposed[1]), 6))
        excess = self._core(steps) + self._level(steps) + self._tail(steps)
        excess = excess + self.period_size * ((steps + 1) % self.period == 0)
        warmup = self.first_extra_s * np.where(steps < 4, 12.0 ** -steps.clip(0, 4).astype(float), 0.0)
        return np.asarray(np.round(self.mean_s * np.exp(excess) * slowdown + warmup, 6))

    def _core(self, steps: Steps) -> Floats:
        bell = noise.normal(self.seed, "step time/core", steps)
        # A chi-square below the line makes Student's t with 4 degrees of freedom: mostly tight, at times far off.
        spread = -0.5 * (
            np.log(noise.uniform(self.seed, "step time/t", steps))
            + np.log(noise.uniform(self.seed, "step time/t2", steps))
        )
        heavy = 0.8 * bell / np.sqrt(np.maximum(spread, 0.05))
        heavy = np.where(heavy > 0, 1.5 * heavy, heavy)
        slow = noise.persistent(self.seed, "step time/memory", 0.9, steps)
        return np.asarray(self.core * (np.sqrt(1.0 - self.memory) * heavy + np.sqrt(self.memory) * slow))

    def _level(self, steps: Steps) -> Floats:
        return self.level * noise.normal(self.seed, "step time/level", steps // LEVEL_STEPS)

    def _tail(self, steps: Steps) -> Floats:
        draw = noise.uniform(self.seed, "step time/tail", steps)
        bell = noise.normal(self.seed, "step time/tail size", steps)
        straggler = 2.0 * self.core + self.straggler_size * np.exp(0.6 * bell)
        stall = 0.3 + 0.5 * np.exp(0.5 * bell)
        tail = np.where(draw < self.straggler_share, np.minimum(straggler, 0.5), 0.0)
        return np.where(draw > 1.0 - self.stall_share, np.minimum(stall, 1.5), tail)

    def _imposed(self, steps: Steps) -> Floats:
        assert self.imposed
        low, high = self.imposed
        slow = noise.persistent(self.seed, "step time/memory", 0.95, steps)
        x = 0.8 * slow + 0.6 * noise.normal(self.seed, "step time/core", steps)
        return low + (high - low) / (1.0 + np.exp(-1.2 * x))
