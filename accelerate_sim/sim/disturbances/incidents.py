"""Small troubles of single ranks: a GPU that runs hot, a rank that is slow, memory that gets tight.

Incidents come with GPUs and with time: their number per window of steps is Poisson's. Everything else follows from
them: the GPU's temperature and clock, the rank's time, the step time of everyone, and the warning that the rank
concerned logs. All wait for the slowest, so of incidents at the same time only the worst is felt, and warned of: a
large cluster has one most of the time, and yet no warning at every step.

What ends a job is not here but in ``faults``.
"""

from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import Literal

import numpy as np

from accelerate_sim.sim import noise
from accelerate_sim.sim.arrivals import poisson_count
from accelerate_sim.sim.noise import Floats, Steps

Kind = Literal["hot", "slow", "memory"]

WINDOW = 200
"""Steps whose incidents are drawn together; longer than any of them lasts."""
HOURLY_AT_64, GROWTH = 0.2, 0.2
"""Incidents in an hour on 64 GPUs, and the power of the number of GPUs by which larger clusters have more.

An assumption: fleets publish how much jobs are slowed, not by how many GPUs. In smaller jobs they come with GPUs;
beyond, they grow more slowly than the cluster, because GPUs that were slow before are kept out of large jobs. It makes
three in half a day on 64 GPUs and three in five hours on 16,384, where logs of 2,560 to 10,752 GPUs stay within 0.4 to
0.9 % of their level.
"""
QUIET_STEPS = 25
"""Steps at the beginning of a run without incidents, as all of them are slow."""
LEAST_STEPS, MOST_STEPS = 12, 60
"""Range of an incident's length in steps."""
HOT_SHARE, MEMORY_SHARE = 0.45, 0.3
"""Shares of all incidents; those of memory become slow ranks where memory is not tight. The rest are slow ranks."""
EXCESS: dict[Kind, tuple[float, float]] = {"hot": (0.02, 0.01), "slow": (0.03, 0.03), "memory": (0.01, 0.01)}
"""Share by which the rank computes longer: the least, and the mean of the exponential above that.

BLOOM's one slow node cost 5 % (149 to 140 TFLOP/s).
"""
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
        """The step at which the rank logs its warning."""
        return self.start + max(1, (self.stop - self.start) // 4)

    def strength(self, step: int) -> float:
        """0 outside, 1 in the middle, rising and falling over a quarter of the time."""
        part = (step - self.start + 1) / (self.stop - self.start + 1)
        return max(0.0, min(1.0, 4.0 * part, 4.0 * (1.0 - part)))

    def excess(self, step: int) -> float:
        """Share by which the rank computes longer than usual at this step."""
        return (self.slowdown - 1.0) * self.strength(step)


@dataclass(frozen=True)
class Incidents:
    """All incidents of a run, each a pure function of (seed, window)."""

    seed: int
    world_size: int
    memory_share: float
    step_s: float
    """Mean time of a step, which turns steps into hours."""

    def __hash__(self) -> int:
        return hash((self.seed, self.world_size, self.step_s))

    @property
    def per_step(self) -> float:
        """Mean number of incidents that begin in a step, on all GPUs."""
        size = self.world_size / 64.0
        return float(HOURLY_AT_64 * min(size, size**GROWTH) * self.step_s / 3600.0)

    @lru_cache(maxsize=64)  # noqa: B019 - small, and as long-lived as the run
    def of_window(self, window: int) -> tuple[Incident, ...]:
        """Incidents that begin in steps window * WINDOW and the WINDOW - 1 after it, in order."""
        if window < 0:
            return ()
        share = float(noise.uniform(self.seed, "incidents", window)[0])
        count = poisson_count(share, WINDOW * self.per_step)
        if not count:
            return ()
        numbers = np.arange(count)
        kinds, places, ranks, lengths, sizes = (
            noise.uniform(self.seed, "incident", window, numbers, each) for each in range(5)
        )
        is_tight = self.memory_share > TIGHT_MEMORY
        starts = window * WINDOW + (places * WINDOW).astype(np.int64)
        steps = (LEAST_STEPS + (MOST_STEPS - LEAST_STEPS) * lengths).astype(np.int64)
        found = [
            Incident(kind, int(rank * self.world_size), int(start), int(start + length), _slowdown(kind, size))
            for kind, rank, start, length, size in zip(
                [_kind(draw, is_tight=is_tight) for draw in kinds], ranks, starts, steps, -np.log(sizes), strict=True
            )
            if start >= QUIET_STEPS
        ]
        return tuple(sorted(found, key=lambda incident: incident.start))

    def during(self, first: int, last: int) -> list[Incident]:
        """Incidents that touch steps first..last, in the order in which they begin."""
        return [
            incident
            for window in range(first // WINDOW - 1, last // WINDOW + 1)
            for incident in self.of_window(window)
            if incident.start <= last and incident.stop > first
        ]

    @lru_cache(maxsize=64)  # noqa: B019 - small, and as long-lived as the run
    def _noticed_in(self, window: int) -> frozenset[int]:
        """Steps of a window and around it at which incidents are noticeable, the hidden ones included."""
        return frozenset(incident.noticed for each in (window - 1, window) for incident in self.of_window(each))

    def noticed_at(self, step: int) -> list[Incident]:
        """Incidents whose warning is due at this step; one that a worse incident hides is not warned of."""
        if step not in self._noticed_in(step // WINDOW):
            return []
        present = self.during(step, step)
        worst = max((incident.excess(step) for incident in present), default=0.0)
        return [incident for incident in present if incident.noticed == step and incident.excess(step) == worst]

    def slowdown(self, steps: Steps) -> Floats:
        """Factor on the computing time of consecutive steps: everyone waits for the slowest rank."""
        found = self.during(int(steps[0]), int(steps[-1]))
        if not found:
            return np.ones(len(steps))
        start, stop, excess = np.array([(each.start, each.stop, each.slowdown - 1.0) for each in found]).T[:, :, None]
        part = (steps - start + 1.0) / (stop - start + 1.0)
        return np.asarray(1.0 + (excess * np.clip(4.0 * np.minimum(part, 1.0 - part), 0.0, 1.0)).max(axis=0))

    @cached_property
    def mean_slowdown(self) -> float:
        """Expected value of ``slowdown``, far from the first step.

        Incidents at one moment are Poisson's, too, each of a kind, a size and a strength of its own; the worst one is
        below x as often as there is none above it: the mean excess is the integral of 1 - exp(-number above x).
        """
        numbers, widths = _excesses(self.memory_share > TIGHT_MEMORY)
        present = self.per_step * ((LEAST_STEPS + MOST_STEPS - 1) / 2.0)
        above = present * numbers
        above /= numbers.size
        np.negative(np.expm1(np.negative(above, out=above), out=above), out=above)
        above *= widths
        return float(1.0 + np.sum(above))


@cache
def _excesses(is_tight: bool) -> tuple[Floats, Floats]:
    """Excesses of equally likely incidents, the highest first: the number of each, and its distance to the next one.

    They are the same for every run, so that processes that are forked share them.
    """
    middles = (np.arange(60) + 0.5) / 60
    strengths = np.clip(4.0 * np.minimum(middles, 1.0 - middles), 0.0, 1.0)
    kinds = [_kind(draw, is_tight=is_tight) for draw in (np.arange(20) + 0.5) / 20]
    excess = [_slowdown(kind, size) - 1.0 for kind in kinds for size in -np.log(middles)]
    highest_first: Floats = np.sort(np.outer(excess, strengths), axis=None)[::-1]
    widths: Floats = highest_first - np.append(highest_first[1:], 0.0)
    return np.arange(highest_first.size, dtype=np.float64) + 1.0, widths


def _kind(draw: float, *, is_tight: bool) -> Kind:
    if draw < HOT_SHARE:
        return "hot"
    return "memory" if is_tight and draw > 1.0 - MEMORY_SHARE else "slow"


def _slowdown(kind: Kind, size: float) -> float:
    """Factor on the computing time; ``size`` is an exponential draw of mean 1."""
    least, mean_above = EXCESS[kind]
    return float(1.0 + least + mean_above * size)
