"""Computes the goodput of a run with failures, and the interval of checkpoints that makes it highest.

Failures of a running job come at random (exponential times of mean M). A segment of tau seconds of steps and delta
seconds of saving counts once it has passed without one. The chance of that is exp(-(tau + delta)/M), so on average
exp((tau + delta)/M) - 1 failures come before it. Each takes the time since the last one, M on average, and R until
steps go on. Together

    time of a segment  T = (M + R) (exp((tau + delta)/M) - 1),    goodput = tau / T

as in Daly, "A higher order estimate of the optimum checkpoint interval for restart dumps" (2006), but for one thing:
there R is what a restart takes if nothing happens meanwhile, and M exp(R/M) stands for M + R. Here R is from the
interruption until steps go on, as fleets publish it, so what else fails meanwhile is in it. With M far above all else
both are the usual (1 - delta/tau) (1 - (tau/2 + R)/M); where it is not, that one is far off, and negative in the end.
"""

import math
from dataclasses import dataclass

from accelerate_sim.sim.disturbances.faults import FleetFaults


@dataclass(frozen=True)
class Reliability:
    """Effects of a fault rate above 0 on a run, and the best interval of its checkpoints. Times in seconds."""

    mtbf_s: float
    interruptions: float
    """Expected in the steps of the whole run, were nothing done twice."""
    goodput: float
    """Share of the time in which the run gets on; nearly 0: it hardly ever ends a segment."""
    best_steps: int
    """From one checkpoint to the next, for the highest goodput."""
    best_goodput: float

    @classmethod
    def of(
        cls, faults: FleetFaults, run_s: float, step_s: float, every_steps: int, stall_s: float, restart_s: float
    ) -> "Reliability":
        """A run of ``run_s`` of steps that stalls ``stall_s`` for a checkpoint and takes ``restart_s`` to be back.

        ``every_steps`` are from one checkpoint to the next, 0: there are none. A run that is over before its first one
        begins anew each time.
        """

        def at(steps: int) -> float:
            saves = 0 < steps * step_s <= run_s
            segment_s, saving_s = (steps * step_s, stall_s) if saves else (run_s, 0.0)
            return goodput(segment_s, saving_s, restart_s, faults.mtbf_s)

        few = int(best_interval_s(stall_s, faults.mtbf_s) / step_s)
        best = max(max(few, 1), few + 1, key=at)
        return cls(faults.mtbf_s, faults.expected(run_s), at(every_steps), best, at(best))


def goodput(interval_s: float, stall_s: float, restart_s: float, mtbf_s: float) -> float:
    """Share of the time, 0 to 1, that is not spent on saving, on work that is lost, or on coming back."""
    if math.isinf(mtbf_s):
        return 1.0 if math.isinf(interval_s) else interval_s / (interval_s + stall_s)
    if math.isinf(interval_s):
        return 0.0
    # tau / T, with the exponentials turned upside down so that they may underflow but not overflow.
    segment = (interval_s + stall_s) / mtbf_s
    return interval_s / (mtbf_s + restart_s) * math.exp(-segment) / -math.expm1(-segment)


def young_daly_s(stall_s: float, mtbf_s: float) -> float:
    """First approximation of the best interval: as long as what it saves is worth (Young 1974)."""
    return math.sqrt(2.0 * stall_s * mtbf_s)


def best_interval_s(stall_s: float, mtbf_s: float) -> float:
    """Seconds of steps between checkpoints at which ``goodput`` is highest; the same for any restart.

    Where its derivative is 0: x = tau/M with x - 1 + exp(-x - delta/M) = 0. That is convex and rises, so Newton's steps
    from Young's interval, which is too long (by about two thirds of delta), go down to the root and never past it.
    """
    if math.isinf(mtbf_s):
        return math.inf
    stall = stall_s / mtbf_s
    best = min(young_daly_s(stall_s, mtbf_s) / mtbf_s, 1.0)
    while True:
        fall = math.expm1(-best - stall)
        lower = best + (best + fall) / fall
        if not 0.0 < lower < best * (1.0 - 1e-12):
            return best * mtbf_s
        best = lower
