"""The lines that a strike makes ranks and machines write: those of its kind, and tracebacks of exceptions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from accelerate_sim.faults.consequences import Death, FaultLine, RaiseEnd
from accelerate_sim.faults.kinds import KINDS
from accelerate_sim.faults.rank_lines import of_rank
from accelerate_sim.faults.words.python_traceback import TracebackFrame, traceback_of_rank

if TYPE_CHECKING:
    from accelerate_sim.faults.occurrence import Occurrence

SIGN_LENGTH = 60
"""Characters of an exception's text by which its line is known."""


def lines_of(strike: Occurrence) -> list[FaultLine]:
    """The lines of a strike, tracebacks aside; no rank writes after the whole job has ended."""
    if strike.fault.silent:
        return []
    end_s = strike.ending.after_s if strike.ending else float("inf")
    lines = KINDS[strike.fault.kind].lines(strike)
    return [line for line in lines if line.after_s <= end_s or line.stream not in ("stdout", "stderr")]


def tracebacks_of(strike: Occurrence, frames: Sequence[TracebackFrame] = ()) -> Iterator[FaultLine]:
    """The tracebacks of ranks that end by an exception in ``frames``; a process that raises it prints its own."""
    if strike.fault.silent or strike.ending is None:
        return
    for death in strike.ending.deaths:
        if isinstance(death.how, RaiseEnd):
            yield from _traceback(death, death.how, frames)


def _traceback(death: Death, error: RaiseEnd, frames: Sequence[TracebackFrame]) -> Iterator[FaultLine]:
    said = f"{error.type}: {error.text}" if error.text else error.type
    first = said.partition("\n")[0][:SIGN_LENGTH]
    lines = traceback_of_rank(death.rank, said, frames, after_s=death.after_s)
    return of_rank(death.rank, lines, rf"^\[rank{death.rank}\]: {re.escape(first)}")
