"""What breaks in a fleet, how often, and what that costs: drawn from published causes and rates.

Here faults are only drawn and counted. What one does to the processes of a job is not done here.

Causes are the 419 unexpected interruptions of Llama 3 405B in 54 days on 16,384 H100s (Dubey et al. 2024); stragglers
are those of 3,079 jobs at ByteDance (Lin et al. 2025); the best interval between checkpoints is Young's and Daly's.
"""

import math
from dataclasses import dataclass

from accelerate_sim.sim import noise
from accelerate_sim.sim.noise import Draws

PUBLISHED_RATE = 2.0e-5
"""Interruptions per GPU-hour: 419 / (16,384 x 1,296 h). Other fleets: 1.5e-5 (BLOOM) to 1.2e-4 (Meta's RSC)."""
WINDOW_S = 3600.0
"""Faults are drawn hour by hour, so that any hour can be had without those before it."""
STRAGGLING_JOBS = 0.425
"""Share of jobs that are at least a tenth slower than their work."""
MEAN_STRAGGLER_SLOWDOWN = 1.28
BAD_WORKER_SHARE, BAD_WORKER_SLOWDOWN = 0.017, 3.04
"""Of the straggling jobs, those in which a single machine is to blame, and how slow they are."""
STRAGGLER_LOSS = 0.104
"""GPU-hours lost over all jobs."""


@dataclass(frozen=True)
class Cause:
    """One line of the published table."""

    name: str
    count: int
    xids: tuple[int, ...] = ()
    """What the driver reports, any of them; none: nothing, or the fault is not the GPU's."""
    whole_node: bool = False


CAUSES = (
    Cause("faulty GPU", 148, (79, 74, 13, 31, 45)),
    Cause("GPU HBM3 memory", 72, (48, 63, 64, 94, 95, 171)),
    Cause("software bug", 54, (13, 31, 43)),
    Cause("network switch or cable", 35),
    Cause("host maintenance", 32, whole_node=True),
    Cause("GPU SRAM memory", 19, (94, 95, 172)),
    Cause("GPU system processor", 17, (119, 120)),
    Cause("NIC", 7, whole_node=True),
    Cause("NCCL watchdog timeout", 7),
    Cause("silent data corruption", 6),
    Cause("GPU thermal interface and sensor", 6),
    Cause("SSD", 3, whole_node=True),
    Cause("power supply", 3, whole_node=True),
    Cause("server chassis", 2, whole_node=True),
    Cause("IO expansion board", 2, whole_node=True),
    Cause("dependency", 2),
    Cause("CPU", 2, whole_node=True),
    Cause("system memory", 2, whole_node=True),
)
TOTAL_COUNT = sum(cause.count for cause in CAUSES)


@dataclass(frozen=True)
class Fault:
    """Something that interrupts the job."""

    second: float
    """Since the first step began."""
    rank: int
    cause: Cause
    xid: int | None


@dataclass(frozen=True)
class Straggling:
    """How much slower than its work a job is because of slow machines or uneven work; 1: not at all."""

    slowdown: float
    bad_worker_rank: int | None
    """The one machine that is to blame, if one is."""


@dataclass(frozen=True)
class Faults:
    """All faults of a run, each a pure function of (seed, hour)."""

    seed: int
    world_size: int
    rate: float
    """Per GPU-hour."""

    @property
    def mtbf_s(self) -> float:
        """Mean time between faults of the whole job, in seconds; infinite without any."""
        return 3600.0 / (self.rate * self.world_size) if self.rate else math.inf

    def expected(self, seconds: float) -> float:
        """Mean number of interruptions in this time."""
        return seconds / self.mtbf_s

    def between(self, begin_s: float, end_s: float) -> list[Fault]:
        """Faults in [begin, end), in order."""
        hours = range(int(begin_s // WINDOW_S), math.ceil(end_s / WINDOW_S))
        found = [fault for hour in hours for fault in self._of_hour(hour) if begin_s <= fault.second < end_s]
        return sorted(found, key=lambda fault: fault.second)

    def _of_hour(self, hour: int) -> list[Fault]:
        if not self.rate or hour < 0:
            return []
        draws = Draws(self.seed, f"fault/{hour}")
        count = _poisson(draws.between("count", 0.0, 1.0), self.rate * self.world_size)
        return [self._fault(hour, number) for number in range(count)]

    def _fault(self, hour: int, number: int) -> Fault:
        when, where, why, code = (float(draw) for draw in noise.uniform(self.seed, "fault", hour, number, range(4)))
        cause = _cause(why)
        xid = cause.xids[int(code * len(cause.xids))] if cause.xids else None
        return Fault((hour + when) * WINDOW_S, int(where * self.world_size), cause, xid)

    def straggling(self) -> Straggling:
        """What this run would lose to stragglers, as a job of the published fleet."""
        draws = Draws(self.seed, "straggling")
        if not draws.chance("straggles", STRAGGLING_JOBS):
            return Straggling(1.0 + 0.1 * draws.between("little", 0.0, 1.0), None)
        if draws.chance("bad worker", BAD_WORKER_SHARE):
            return Straggling(BAD_WORKER_SLOWDOWN, int(draws.between("rank", 0.0, 1.0) * self.world_size))
        # An exponential above a tenth, with the mean that leaves the published one over all straggling jobs.
        others = (MEAN_STRAGGLER_SLOWDOWN - BAD_WORKER_SHARE * BAD_WORKER_SLOWDOWN) / (1.0 - BAD_WORKER_SHARE)
        size = -math.log(1.0 - draws.between("size", 0.0, 1.0))
        return Straggling(1.1 + (others - 1.1) * size, None)


@dataclass(frozen=True)
class Reliability:
    """What a fault rate makes of a run, and of how often it saves its state. Times in seconds."""

    mtbf_s: float
    interruptions: float
    """Expected in the whole run."""
    interval_s: float
    """From one checkpoint to the next; infinite: there are none."""
    goodput: float
    """Share of the time in which the run gets on, stragglers aside; 0: it never ends."""
    best_interval_s: float
    best_goodput: float

    @classmethod
    def of(cls, faults: Faults, run_s: float, interval_s: float, stall_s: float, restart_s: float) -> "Reliability":
        """A run of ``run_s`` that stalls ``stall_s`` for a checkpoint and takes ``restart_s`` to be back."""
        best_s = young_daly_s(stall_s, faults.mtbf_s)
        return cls(
            faults.mtbf_s, faults.expected(run_s), interval_s,
            goodput(min(interval_s, run_s), stall_s, restart_s, faults.mtbf_s), best_s,
            goodput(best_s, stall_s, restart_s, faults.mtbf_s),
        )  # fmt: skip


def young_daly_s(stall_s: float, mtbf_s: float) -> float:
    """Interval between checkpoints that loses least: as long as what it saves is worth (Young 1974, Daly 2006)."""
    return math.sqrt(2.0 * stall_s * mtbf_s)


def goodput(interval_s: float, stall_s: float, restart_s: float, mtbf_s: float) -> float:
    """Share of the time that is not spent on saving, on work that is lost, or on coming back."""
    saving = 1.0 if math.isinf(interval_s) else interval_s / (interval_s + stall_s)
    lost = 0.0 if math.isinf(mtbf_s) else (interval_s / 2.0 + restart_s) / mtbf_s
    return saving * max(0.0, 1.0 - lost)


def _cause(draw: float) -> Cause:
    """The cause at this share of the published table."""
    left = draw * TOTAL_COUNT
    for cause in CAUSES:
        left -= cause.count
        if left < 0:
            return cause
    return CAUSES[-1]


def _poisson(draw: float, mean: float) -> int:
    """Number of events, by inverting the distribution at this share. Large means in parts that do not underflow."""
    if mean > 500.0:  # by then a normal is as good
        return max(0, round(mean + math.sqrt(mean) * 1.702**-1 * math.log(draw / (1.0 - draw))))
    count, term = 0, math.exp(-mean)
    total = term
    while total < draw and count < 2000:
        count += 1
        term *= mean / count
        total += term
    return count
