"""The kind of fault of time: clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accelerate_sim.faults.consequences import Truth
from accelerate_sim.faults.kind import FaultKind, Key
from accelerate_sim.faults.occurrence import Occurrence
from accelerate_sim.faults.spans import EVER

PPM = 1e-6


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


KINDS = (
    FaultKind(
        name="clock", help="the clock of a machine is wrong: only the time stamps of its lines show it",
        targets=("node",),
        target="node=any",
        keys={
            "skew": Key("float", -30.0, "Seconds by which it is ahead; behind if below 0.", least=-1e6, most=1e6),
            "drift": Key("float", 0.0, "Microseconds that it gains each second.", least=-1e5, most=1e5),
        },
        lasts=EVER, clock_s=_ahead_s, truth=Truth("clock", transient=False, action="none", quiet=True),
        expect=_clock_expected,
    ),
)  # fmt: skip
