"""Kinds of fault of GPUs: slow."""

from __future__ import annotations

from dataclasses import replace

from accelerate_sim.faults.consequences import Truth
from accelerate_sim.faults.kind import Key, Kind
from accelerate_sim.faults.occurrence import Occurrence
from accelerate_sim.faults.spans import EVER
from accelerate_sim.sim.gpus.telemetry import GpuSample


def _factor(strike: Occurrence) -> float:
    """Step time over the usual: all ranks wait for the slow one."""
    factor = strike.fault["factor"]
    assert isinstance(factor, float)
    return 1.0 + (factor - 1.0) * strike.run.compute_share


def _clocks(strike: Occurrence, sample: GpuSample, strength: float) -> GpuSample:
    """Lower clocks of the GPUs that are slow because of heat or power; another cause leaves no trace."""
    factor = strike.fault["factor"]
    if strike.fault["why"] not in ("thermal", "power", "brake") or not isinstance(factor, float):
        return sample
    clocks = sample.sm_clock_mhz.copy()
    clocks[list(strike.hit.ranks)] /= 1.0 + (factor - 1.0) * strength
    return replace(sample, sm_clock_mhz=clocks)


KINDS = (
    Kind(
        name="slow", help="a GPU computes more slowly, and all wait for it",
        targets=("gpu", "rank", "node"),
        target="gpu=any",
        keys={
            "factor": Key("float", 1.3, "Time of its computing over the usual.", least=1.0, most=1000.0),
            "why": Key("word", "unknown", "Cause.", ("thermal", "power", "brake", "cpu", "unknown")),
        },
        lasts=EVER, pace=_factor, telemetry=_clocks, truth=Truth("gpu", action="none", quiet=True),
    ),
)  # fmt: skip
