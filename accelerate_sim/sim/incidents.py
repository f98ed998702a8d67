"""What goes slightly wrong now and then: a GPU that runs hot, a rank that is slow, memory that gets tight.

An incident is drawn per window of steps; everything else follows from it: the GPU's temperature and clock, the rank's
time, the step time of everyone, and the warning that the rank concerned logs.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from accelerate_sim.sim import noise
from accelerate_sim.sim.noise import Floats, Steps

Kind = Literal["hot", "slow", "memory"]

WINDOW = 200
"""Steps; at most one incident begins in each window."""
PROBABILITY = 0.2
TIGHT_MEMORY = 0.88
"""Share of a GPU's memory in use from which fragmentation can fill the rest."""


@dataclass(frozen=True)
class Incident:
    """Something that is wrong with one rank from step ``start`` up to, not including, step ``stop``."""

    kind: Kind
    rank: int
    start: int
    stop: int
    slowdown: float
    """Factor on the time that this rank computes."""

    @property
    def noticed(self) -> int:
        """The step at which it is plain to see, and is warned of."""
        return self.start + max(1, (self.stop - self.start) // 4)

    def strength(self, step: int) -> float:
        """0 outside, 1 in the middle, rising and falling over a quarter of the time."""
        part = (step - self.start + 1) / (self.stop - self.start + 1)
        return max(0.0, min(1.0, 4.0 * part, 4.0 * (1.0 - part)))

    def strengths(self, steps: Steps) -> Floats:
        """The same for many steps."""
        part = (steps - self.start + 1) / (self.stop - self.start + 1)
        return np.asarray(np.clip(4.0 * np.minimum(part, 1.0 - part), 0.0, 1.0))


@dataclass(frozen=True)
class Incidents:
    """All incidents of a run, each a pure function of (seed, window)."""

    seed: int
    world_size: int
    memory_share: float

    def __hash__(self) -> int:
        return hash((self.seed, self.world_size))

    @lru_cache(maxsize=64)  # noqa: B019 - small, and as long-lived as the run
    def of_window(self, window: int) -> Incident | None:
        if window < 0:
            return None
        chance, kind_draw, place, rank, length, size = noise.uniform(self.seed, "incident", window, np.arange(6))
        if chance > PROBABILITY:
            return None
        kind: Kind = "hot" if kind_draw < 0.45 else "slow"
        if self.memory_share > TIGHT_MEMORY and kind_draw > 0.7:
            kind = "memory"
        slowdown = {"hot": 1.02 + 0.08 * size, "slow": 1.06 + 0.25 * size**2, "memory": 1.01 + 0.02 * size}[kind]
        steps = int(12 + 48 * length)
        # Not in the first steps, when everything is slow, and over before the next window's ends.
        start = window * WINDOW + 25 + int(place * (WINDOW - 25))
        return Incident(kind, int(rank * self.world_size), start, start + steps, float(slowdown))

    def during(self, first: int, last: int) -> list[Incident]:
        """Incidents that touch steps first..last."""
        windows = range(first // WINDOW - 1, last // WINDOW + 1)
        found = (self.of_window(window) for window in windows)
        return [incident for incident in found if incident and incident.start <= last and incident.stop > first]

    def slowdown(self, steps: Steps) -> Floats:
        """Factor on the computing time of consecutive steps: everyone waits for the slowest rank."""
        factor = np.ones(len(steps))
        for incident in self.during(int(steps[0]), int(steps[-1])):
            factor = np.maximum(factor, 1.0 + (incident.slowdown - 1.0) * incident.strengths(steps))
        return factor
