"""Kinds of fault of GPUs: slow."""

from __future__ import annotations

from accelerate_sim.faults.consequences import Truth
from accelerate_sim.faults.kind import Key, Kind
from accelerate_sim.faults.occurrence import Occurrence
from accelerate_sim.faults.spans import EVER


def _factor(strike: Occurrence) -> float:
    """Step time over the usual: all ranks wait for the slow one."""
    factor = strike.fault["factor"]
    assert isinstance(factor, float)
    return 1.0 + (factor - 1.0) * strike.run.compute_share


KINDS = (
    Kind(
        name="slow", help="a GPU computes more slowly, and all wait for it",
        targets=("gpu", "rank", "node"),
        target="gpu=any",
        keys={
            "factor": Key("float", 1.3, "Time of its computing over the usual.", least=1.0, most=1000.0),
            "why": Key("word", "unknown", "Cause.", ("thermal", "power", "brake", "cpu", "unknown")),
        },
        lasts=EVER, pace=_factor, truth=Truth("gpu", action="none", quiet=True),
    ),
)  # fmt: skip
