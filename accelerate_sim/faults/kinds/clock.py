"""Kinds of fault of time and versions: clock, mismatch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from accelerate_sim.faults.consequences import Death, Ending, Line, RaiseEnd, Truth
from accelerate_sim.faults.kind import Key, Kind
from accelerate_sim.faults.occurrence import Occurrence
from accelerate_sim.faults.spans import EVER
from accelerate_sim.faults.words import cuda, kernel, nccl

NOTICED_S = 1.0
"""Seconds from the end of the first rank until the launcher has ended the others."""
PPM = 1e-6
OLD_DRIVER, NEW_DRIVER = "550.144.03", "595.45.04"
OLD_NCCL, NEW_NCCL = "2.27.7", "2.29.7"


def _ahead_s(strike: Occurrence, second: float) -> float:
    skew, drift = strike.fault["skew"], strike.fault["drift"]
    assert isinstance(skew, float) and isinstance(drift, float)
    return skew + drift * PPM * max(second - strike.second, 0.0)


def _clock_expected(strike: Occurrence) -> Mapping[str, Any]:
    return {"stamps": [{"node": strike.host(rank), "ahead_s": _ahead_s(strike, strike.second),
                        "drift_ppm": strike.fault["drift"]} for rank in _first_ranks(strike)]}  # fmt: skip


def _first_ranks(strike: Occurrence) -> list[int]:
    """The first rank of each node that is hit."""
    per_node = strike.run.layout.gpus_per_node
    return sorted({rank // per_node * per_node for rank in strike.hit.ranks})


def _mismatch(strike: Occurrence) -> Ending:
    name, text = _error(strike)
    return Ending(tuple(Death(rank, RaiseEnd(name, text)) for rank in strike.hit.ranks), NOTICED_S)


def _error(strike: Occurrence) -> tuple[str, str]:
    match strike.fault["what"]:
        case "nccl":
            whole = nccl.backend_error(nccl.INTERNAL, _nccl_text(strike), nccl=NEW_NCCL)
        case "driver":
            whole = cuda.exception(cuda.OLD_DRIVER).rstrip("\n")
        case "python":
            whole = "ModuleNotFoundError: No module named 'torch'"
        case _:
            whole = "FileNotFoundError: [Errno 2] No such file or directory: '/mnt/data/tokens'"
    name, _, text = whole.partition(": ")
    return name, text


def _nccl_text(strike: Occurrence) -> str:
    hit = strike.hit.ranks[0]
    other = next((rank for rank in range(strike.run.layout.world_size) if rank not in strike.hit.ranks), hit)
    other_text, text = f"rank {other} version {_code(NEW_NCCL)}", f"rank {hit} version {_code(OLD_NCCL)}"
    return f"Mismatched NCCL version detected : {other_text} {text}"


def _code(version: str) -> int:
    """The version as NCCL numbers it: 22707 for 2.27.7."""
    major, minor, patch = (int(part) for part in version.split("."))
    return major * 10_000 + minor * 100 + patch


def _mismatch_lines(strike: Occurrence) -> Iterator[Line]:
    if strike.fault["what"] == "driver":
        for rank in _first_ranks(strike):
            for line in kernel.api_mismatch(NEW_DRIVER, OLD_DRIVER):
                yield Line(line.text, rank, "kernel")


KINDS = (
    Kind(
        name="clock", help="the clock of a machine is wrong: only the stamps of its lines say so",
        targets=("node",),
        target="node=any",
        keys={
            "skew": Key("float", -30.0, "Seconds by which it is ahead; behind if below 0.", least=-1e6, most=1e6),
            "drift": Key("float", 0.0, "Microseconds that it gains each second.", least=-1e5, most=1e5),
        },
        lasts=EVER, clock_s=_ahead_s, truth=Truth("clock", transient=False, action="none", quiet=True),
        expect=_clock_expected,
    ),
    Kind(
        name="mismatch", help="a machine has another NCCL, driver or Python, or lacks a mount: its ranks fail at start",
        targets=("node",),
        target="node=any",
        keys={"what": Key("word", "nccl", "The part that differs.", ("nccl", "driver", "python", "mount"))},
        phase="nccl", ends=_mismatch, lines=_mismatch_lines,
        truth=Truth("software", transient=False, action="replace_node"),
    ),
)  # fmt: skip
