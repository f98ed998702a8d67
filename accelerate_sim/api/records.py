"""Records of a played run that no file holds: faults that strike, and lines of text."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from accelerate_sim.faults.occurrence import Occurrence


@dataclass(frozen=True, slots=True)
class FaultRecord:
    """A fault strikes. metrics.jsonl holds none of these; faults.jsonl has more about each."""

    run: int
    id: str
    occurrence: int
    """Number of the strike of this fault, from 0."""
    kind: str
    attempt: int
    """Number of the attempt, from 0."""
    step: int
    phase: str
    elapsed_s: float
    """Seconds since the first step of the run began."""
    ranks: tuple[int, ...]
    ends_attempt: bool
    """True if the job ends by it: it goes on from a checkpoint, or not at all."""


def fault_record(run: int, strike: Occurrence) -> FaultRecord:
    """The record of a strike in the run with this number."""
    return FaultRecord(
        run, strike.fault.id, strike.number, strike.fault.kind, strike.attempt, strike.step, strike.phase,
        round(strike.second, 6), strike.hit.ranks, strike.ending is not None,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class TextRecord:
    """A line that the run prints, in the words of its voice."""

    run: int
    text: str
    """The whole line, without a line end; rows of a table are lines of their own."""
    rank: int
    """Rank that prints the line."""
    stream: Literal["stdout", "stderr"]
    time: datetime
    """Simulated moment of the line."""
