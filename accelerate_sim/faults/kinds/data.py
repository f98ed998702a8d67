"""Kinds of fault of the data loader: data."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from typing import Any

from accelerate_sim.faults.consequences import Death, Ending, FaultLine, RaiseEnd, Truth
from accelerate_sim.faults.fault import Value
from accelerate_sim.faults.kind import FaultKind, Key
from accelerate_sim.faults.occurrence import Occurrence
from accelerate_sim.faults.spans import EVER, NOTHING, FaultSpan
from accelerate_sim.faults.words import data_loader, kernel
from accelerate_sim.faults.words.python_traceback import TracebackFrame
from accelerate_sim.gpu_condition import Condition

NOTICED_S = 1.0
"""Seconds from the end of one rank until the launcher has ended the others."""
DATASET = TracebackFrame("/workspace/dataset.py", 57, "__getitem__", "return self._decode(self.shards[index])")
"""The line of a dataset in which an exception is raised."""
SIGNALS = {"killed": signal.SIGKILL, "bus": signal.SIGBUS}
MOST_FILES = 1_048_576
"""Files that a machine can have open."""


def _worker_pid(strike: Occurrence, rank: int) -> int:
    worker = strike.fault["worker"]
    assert isinstance(worker, int)
    return 5000 + 40 * rank + worker


def _ends(strike: Occurrence) -> Ending | None:
    if strike.fault["action"] == "slow":
        return None
    deaths = (Death(rank, _error(strike, rank)) for rank in strike.hit.ranks)
    return Ending(tuple(deaths), NOTICED_S)


def _error(strike: Occurrence, rank: int) -> RaiseEnd:
    """The exception of the rank whose loader has lost a worker, or got an exception of one."""
    action = str(strike.fault["action"])
    if action == "fds":
        name, _, text = data_loader.too_many_files().partition(": ")
    elif action == "exception":
        name = str(strike.fault["error"])
        lines = data_loader.raised_in_worker(rank, int(str(strike.fault["worker"])), name,
                                             str(strike.fault["text"]), DATASET)  # fmt: skip
        whole = "\n".join(line.text.removeprefix(f"[rank{rank}]: ") for line in lines)
        text = whole[whole.index(f"\n{name}: Caught ") :].removeprefix(f"\n{name}: ").rstrip("\n")
    else:
        name, _, text = data_loader.killed(_worker_pid(strike, rank), SIGNALS[action]).partition(": ")
    return RaiseEnd(name, text)


def _lines(strike: Occurrence) -> Iterator[FaultLine]:
    action = str(strike.fault["action"])
    for rank in strike.hit.ranks if action == "bus" else ():
        yield FaultLine(data_loader.WORKER_ERRORS[signal.SIGBUS], rank)
    nodes = {rank // strike.run.layout.gpus_per_node: rank for rank in reversed(strike.hit.ranks)}
    for rank in nodes.values() if action == "fds" else ():
        yield FaultLine(kernel.too_many_files(MOST_FILES)[0].text, rank, "kernel")


def _pace(strike: Occurrence) -> float:
    """All ranks wait for the one whose batches come late."""
    factor = strike.fault["factor"]
    assert isinstance(factor, float)
    return factor if strike.fault["action"] == "slow" else 1.0


def _late_s(strike: Occurrence, step: int) -> float:
    return (_pace(strike) - 1.0) * strike.strength(step) * strike.run.timing(step - 1).seconds


def _starved(strike: Occurrence, rank: int, now: Condition, after_s: float) -> Condition:
    """The condition of a GPU for which there is nothing to do until its batches come."""
    factor = _pace(strike)
    if factor == 1.0 or strike.second + after_s >= strike.end_s:
        return now
    ramp_s = strike.ramp_steps * strike.run.mean_step_s
    more = (factor - 1.0) * (1.0 if not ramp_s else min(1.0, after_s / ramp_s))
    return now._replace(starved=max(now.starved, more / (1.0 + more)))


def _length(params: Mapping[str, Value]) -> FaultSpan | None:
    return EVER if params["action"] == "slow" else None


def _check(params: Mapping[str, Value]) -> str | None:
    if params["action"] != "slow" and params["factor"] != KEYS["factor"].default:
        return f"factor says how slow a loader is, and action is {params['action']}"
    if params["action"] != "exception" and any(params[key] != KEYS[key].default for key in ("error", "text")):
        return f"error and text are those of action=exception, and action is {params['action']}"
    return None


def _expected(strike: Occurrence) -> Mapping[str, Any]:
    if strike.fault["action"] == "slow":
        return {"metrics": [{"name": "step_time_s", "op": "rises_by", "value": _pace(strike)}]}
    return {}


KEYS = {
    "action": Key("word", "killed", "killed, bus: a worker gets a signal; exception: it raises; fds: no descriptor is "
                  "left; slow: batches come late.", ("killed", "bus", "exception", "fds", "slow")),
    "worker": Key("int", 1, "Number of the worker.", most=39),
    "error": Key("text", "ValueError", "Class of the worker's exception."),
    "text": Key("text", "cannot decode sample", "Its text."),
    "factor": Key("float", 1.5, "Step time of a slow loader over the usual.", least=1.0, most=1000.0),
}  # fmt: skip

KINDS = (
    FaultKind(
        name="data", help="a data loader loses a worker, gets an exception of one, or is slow",
        targets=("rank", "node"),
        keys=KEYS, phase="forward", lasts=NOTHING, lasts_by=_length, check=_check, ends=_ends, pace=_pace, lines=_lines,
        late_batches_s=_late_s, telemetry=_starved, truth=Truth("data"), expect=_expected,
    ),
)  # fmt: skip
