"""The samples of an exporter by which a detector sees that processes hang or have ended.

While a rank hangs, the GPUs of the others poll for it: they are in use all the time, and need little power. When a job
has ended, nothing is on its GPUs until it starts again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from accelerate_sim.faults.kinds.xid_strike import gpu_labels, metric
from accelerate_sim.faults.occurrence import Occurrence
from accelerate_sim.faults.rank_lines import MOST_LOGGING_RANKS, waiting_ranks
from accelerate_sim.gpu_condition import Condition

UTILIZATION, POWER, MEMORY = "DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_FB_USED"
POLLING_PCT = 90
"""A GPU that polls is used more."""
POLLING_SHARE = 0.3
"""A GPU that polls needs less than this share of the power between idle and the limit."""
UNUSED_PCT = 5
UNUSED_MIB = 100
"""Memory of a GPU without a process is less."""


def hangs(strike: Occurrence, rank: int, now: Condition, after_s: float) -> Condition:
    """The condition of a GPU whose process hangs before it starts the kernel that the others wait in."""
    return now._replace(idle=True)


def expect_hang(strike: Occurrence) -> Mapping[str, Any]:
    """The GPU of a rank that hangs is not used, and those of the others poll until the watchdog ends the job."""
    gpu = strike.run.gpu
    polling_w = round(gpu.idle_w + POLLING_SHARE * (gpu.power_limit_w - gpu.idle_w), 1)
    hit, found = strike.hit.ranks[:MOST_LOGGING_RANKS], []
    if in_step(strike):
        found = [metric(UTILIZATION, gpu_labels(strike, rank), "==", 0) for rank in hit]
        for rank in waiting_ranks(strike)[:MOST_LOGGING_RANKS]:
            labels = gpu_labels(strike, rank)
            found += [metric(UTILIZATION, labels, ">", POLLING_PCT), metric(POWER, labels, "<", polling_w)]
    return {"metrics": [*found, *_unused(strike, hit)]}


def expect_end(strike: Occurrence) -> Mapping[str, Any]:
    """Nothing is on the GPUs of the ranks that have ended, from the end of the job until it starts again."""
    return {"metrics": _unused(strike, strike.hit.ranks[:MOST_LOGGING_RANKS])}


def gone(strike: Occurrence, rank: int, now: Condition, after_s: float) -> Condition:
    """The condition of a GPU whose machine is gone, with the exporter there."""
    return now._replace(lost=True)


def expect_gone(strike: Occurrence) -> Mapping[str, Any]:
    """No sample comes from a machine that is gone."""
    ranks = strike.hit.ranks[:MOST_LOGGING_RANKS]
    return {"metrics": [metric("DCGM_FI_DEV_GPU_TEMP", gpu_labels(strike, rank), "absent") for rank in ranks]}


def in_step(strike: Occurrence) -> bool:
    """True if the GPUs compute when the fault strikes."""
    return strike.phase in ("", "forward", "backward", "allreduce", "optimizer", "eval")


def _unused(strike: Occurrence, ranks: Iterable[int]) -> list[dict[str, Any]]:
    ending = strike.ending
    if ending is None or not ending.restarts:
        return []
    found = []
    for rank in ranks:
        labels = gpu_labels(strike, rank)
        found += [
            metric(UTILIZATION, labels, "<", UNUSED_PCT, ending.after_s),
            metric(MEMORY, labels, "<", UNUSED_MIB, ending.after_s),
        ]
    return found
