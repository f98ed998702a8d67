"""The sections ``target`` and ``expect`` of the ground truth: what a strike hits, and what a detector can check."""

from __future__ import annotations

import math
import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from accelerate_sim.config.host_names import host_name
from accelerate_sim.faults.consequences import FaultLine, HangEnd
from accelerate_sim.faults.kinds import KINDS
from accelerate_sim.faults.told import lines_of, tracebacks_of
from accelerate_sim.sim.gpus.devices import uuid
from fake_torch_dist.nccl.pci_addresses import driver_bus_id

if TYPE_CHECKING:
    from accelerate_sim.faults.occurrence import Attempt, Occurrence
    from accelerate_sim.faults.schedule import FaultSchedule


WITHIN_S = 1.0
"""Simulated seconds after ``after_s`` in which a line comes that a detector can look for."""
STREAMS = {"stdout": "stdout", "stderr": "stderr", "slurm": "stderr"}
"""The stream of a process on which lines appear."""


def target_of(strike: Occurrence) -> dict[str, Any]:
    """Everything that a strike hits, under all names that a detector may use."""
    hit, run = strike.hit, strike.run
    host, per_node = run.config.cluster.host, run.layout.gpus_per_node
    nodes = sorted({*hit.nodes, *(rank // per_node for rank in hit.ranks), *(node for node, _ in hit.links)})
    return {
        "ranks": list(hit.ranks),
        "nodes": [{"index": node, "host": host_name(host, node)} for node in nodes],
        "gpus": [
            {"node": node, "index": index, "uuid": uuid(run.config, node, index), "pci": driver_bus_id(index)}
            for node, index in hit.gpus
        ],
        "links": [{"node": node, "link": link} for node, link in hit.links],
        "storages": list(hit.storages),
        "store": hit.store,
        "job": hit.job,
    }


def expectation(schedule: FaultSchedule, attempt: Attempt, strike: Occurrence) -> dict[str, Any]:
    """Facts about the logs, the ends of ranks and the job that follow from a strike."""
    kind, ending = KINDS[strike.fault.kind], strike.ending
    lines = [*lines_of(strike), *tracebacks_of(strike)]
    spoken = [line for line in lines if line.stream in STREAMS]
    found: dict[str, Any] = {
        "exit": [
            {"rank": death.rank, "code": death.exitcode, "signal": _signal_name(death.exitcode)}
            for death in (ending.deaths if ending else ()) if not isinstance(death.how, HangEnd)
        ],
        "logs": [
            {"rank": line.rank, "stream": STREAMS[line.stream]} | _claim(line, count)
            for line, count in _claimed(spoken)
        ],
        "kernel": [
            {"node": line.rank // strike.run.layout.gpus_per_node, "host": strike.host(line.rank)} | _claim(line, count)
            for line, count in _claimed([line for line in lines if line.stream == "kernel"])
        ],
        "silent_ranks": sorted(set(strike.hit.ranks) - {line.rank for line in spoken if line.stream != "slurm"}),
        "first_error_rank": min(spoken, key=lambda line: line.after_s).rank if spoken else None,
        "metrics": [],
    }  # fmt: skip
    if ending:
        following = schedule.attempt(attempt.number + 1) if attempt.goes_on else None
        found["job"] = {
            "exit": None if following else 1,
            "restarts": attempt.number,
            "resume_step": following.first_step if following else None,
            "lost_steps": attempt.completed - following.first_step if following else None,
        }
    return found | dict(kind.expect(strike) if kind.expect else {})


def _claimed(lines: Sequence[FaultLine]) -> list[tuple[FaultLine, int]]:
    """The lines that a detector can look for, each once, with how often its expression is found."""
    found: dict[tuple[int, str, str], list[FaultLine]] = {}
    for line in lines:
        if line.sign:
            found.setdefault((line.rank, line.stream, line.sign), []).append(line)
    return [(each[0], len(each)) for each in found.values()]


def _claim(line: FaultLine, count: int) -> dict[str, Any]:
    after_s = math.floor(line.after_s * 10) / 10
    return {"regex": line.sign, "after_s": after_s, "within_s": WITHIN_S, "count": count}


def _signal_name(exitcode: int) -> str | None:
    try:
        return signal.Signals(-exitcode).name if exitcode < 0 else None
    except ValueError:
        return None
