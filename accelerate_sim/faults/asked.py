"""``asked_fault``: reads a fault that is asked for while a job runs, and gives it a moment that can still come."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from accelerate_sim.faults.fault import Attempts, Fault
from accelerate_sim.faults.kinds import KINDS
from accelerate_sim.faults.language import parse
from accelerate_sim.faults.mistake import FaultMistake
from accelerate_sim.faults.triggers import START_PHASES

_NOW = re.compile(r"(?<!\S)at=now(?![^\s+])")


def asked_fault(words: str, next_step: int, attempt: int, others: Sequence[Fault]) -> Fault:
    """Read a fault of ``at=now`` or a later moment. Raises FaultMistake.

    It strikes in this attempt or a later one, so that what has happened stays as it is. A trigger without step and time
    counts from ``next_step`` on.
    """
    fault = parse(_NOW.sub(f"at=step:{next_step}", words), _free_number(others))
    fault = replace(fault, attempts=_from_here_on(fault.attempts, attempt))
    at = fault.at
    if at.phase in START_PHASES and fault.attempts.first == attempt:
        only = (
            ""
            if at.phase != KINDS[fault.kind].phase_with(fault.params)
            else f"{fault.kind} strikes while a job starts: "
        )
        raise FaultMistake(
            f"{only}{at.phase} of attempt {attempt} is over",
            f"Add attempt={attempt + 1} for the next start of this job, or start a job with --fault.",
        )
    if at.phase in START_PHASES or fault.after or at.step is not None or at.time_s is not None:
        return fault
    return replace(fault, at=replace(at, step=next_step))


def _from_here_on(attempts: Attempts, attempt: int) -> Attempts:
    if attempts.last is not None and attempts.last < attempt:
        raise FaultMistake(f"attempt={attempts} is over: this is attempt {attempt}", "Use a later one, or none.")
    return replace(attempts, first=max(attempts.first, attempt))


def _free_number(faults: Sequence[Fault]) -> int:
    """A number that makes the id of a fault without one its own."""
    taken = {fault.id.rpartition("-")[2] for fault in faults}
    number = len(faults) + 1
    while str(number) in taken:
        number += 1
    return number
