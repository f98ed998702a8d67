"""Draws the faults of a fleet, with time, place and the driver's report, from published causes and rates.

Here faults are only drawn. What they cost is in ``goodput``; what one does to the processes of a job is not done here.

Causes are the 419 unexpected interruptions of Llama 3 405B in 54 days on 16,384 H100s (Dubey et al. 2024, table 5).
Which Xid goes with which cause is nowhere published in numbers: what the codes mean is NVIDIA's Xid catalogue, their
weights within a cause are estimates.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from accelerate_sim.sim import noise
from accelerate_sim.sim.arrivals import poisson_count

PUBLISHED_RATE = 2.0e-5
"""Interruptions per GPU-hour: 419 / (16,384 x 1,296 h). Other fleets: 1.5e-5 (BLOOM) to 1.2e-4 (Meta's RSC)."""
WINDOW_S = 3600.0
"""Faults are drawn hour by hour, so that any hour can be had without those before it."""
HOURS_AT_ONCE = 4096


@dataclass(frozen=True)
class Cause:
    """One line of the published table."""

    name: str
    count: int
    xids: tuple[tuple[int, float], ...] = ()
    """Codes that the driver reports first, each with its share of this cause; the rest reports nothing. Codes that only
    follow others are never the first: 45 (the channels that a fault leaves are cleaned up), 154 (the recovery that is
    needed), 171 and 172 (the place in the memory)."""
    whole_node: bool = False
    """True if the cause concerns the machine and none of its GPUs in particular."""


CAUSES = (
    # Fallen off the bus; NVLink. Some fail in other ways, which the driver does not report.
    Cause("faulty GPU", 148, ((79, 0.60), (74, 0.30))),
    # Uncorrectable errors: contained to the process, or not, or only counted; rows remapped, or no row left for it.
    Cause("GPU HBM3 memory", 72, ((94, 0.45), (95, 0.15), (48, 0.15), (63, 0.15), (64, 0.10))),
    # The application's own: page faults, exceptions, a channel reset. As many end in an exception of Python's.
    Cause("software bug", 54, ((31, 0.30), (13, 0.15), (43, 0.05))),
    Cause("network switch or cable", 35, whole_node=True),
    Cause("host maintenance", 32, whole_node=True),
    Cause("GPU SRAM memory", 19, ((94, 0.40), (95, 0.40), (48, 0.20))),
    # A call to it timed out; it failed.
    Cause("GPU system processor", 17, ((119, 0.90), (120, 0.10))),
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
class FleetFault:
    """Something that interrupts the job."""

    second: float
    """Since the first step began."""
    rank: int
    cause: Cause
    xid: int | None


@dataclass(frozen=True)
class FleetFaults:
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

    def between(self, begin_s: float, end_s: float) -> Iterator[FleetFault]:
        """Faults in [begin, end), in order; they are drawn as they are asked for."""
        if not self.rate:
            return
        hours = range(max(0, int(begin_s // WINDOW_S)), math.ceil(end_s / WINDOW_S))
        for first in hours[::HOURS_AT_ONCE]:
            for hour, count in self._counts(first, min(first + HOURS_AT_ONCE, hours.stop)):
                draws = noise.uniform(self.seed, "fault", hour, np.arange(count)[:, None], np.arange(4))
                for when, where, why, code in draws[np.argsort(draws[:, 0])].tolist():
                    if begin_s <= (second := (hour + when) * WINDOW_S) < end_s:
                        cause = _cause(why)
                        yield FleetFault(second, int(where * self.world_size), cause, _xid(cause, code))

    def _counts(self, first: int, stop: int) -> Iterator[tuple[int, int]]:
        """(hour, faults) of the hours that have any."""
        mean = self.rate * self.world_size
        shares = noise.uniform(self.seed, "faults", np.arange(first, stop))
        for offset in np.flatnonzero(shares > math.exp(-mean)):
            yield first + int(offset), poisson_count(float(shares[offset]), mean)


def _cause(draw: float) -> Cause:
    """The cause at this share of the published table."""
    left = draw * TOTAL_COUNT
    for cause in CAUSES:
        left -= cause.count
        if left < 0:
            return cause
    return CAUSES[-1]


def _xid(cause: Cause, draw: float) -> int | None:
    """The code at this share of the cause's."""
    for xid, share in cause.xids:
        draw -= share
        if draw < 0:
            return xid
    return None
