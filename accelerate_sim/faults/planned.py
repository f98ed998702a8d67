"""The faults of a config: read, checked against its cluster and its steps, and made into a schedule.

``PlannedMistake`` says which entry of ``faults.play`` is wrong; the config's reader knows its file and line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from accelerate_sim.faults.attempt_run import AttemptRun
from accelerate_sim.faults.fault import Fault
from accelerate_sim.faults.kinds import KINDS
from accelerate_sim.faults.language import parse, render
from accelerate_sim.faults.mistake import FaultMistake, guess, quoted
from accelerate_sim.faults.schedule import FaultSchedule
from accelerate_sim.faults.spans import seconds_text
from accelerate_sim.faults.targets import check_target
from accelerate_sim.faults.triggers import STEP_PHASES

if TYPE_CHECKING:
    from accelerate_sim.sim.plan import Plan
    from accelerate_sim.sim.run import Run

__all__ = ["KINDS", "PlannedMistake", "canonical", "planned_faults", "schedule_of"]


MOST_ATTEMPTS = 2000
"""Attempts in which a fault that never comes is looked for."""


class PlannedMistake(Exception):
    """Entry ``index`` of the config's faults is wrong."""

    def __init__(self, index: int, mistake: FaultMistake) -> None:
        super().__init__(str(mistake))
        self.index = index
        self.mistake = mistake


def canonical(plan: Plan) -> tuple[str, ...]:
    """The words of all faults of the config in their canonical form. Raises PlannedMistake."""
    return tuple(map(render, planned_faults(plan)))


def planned_faults(plan: Plan) -> tuple[Fault, ...]:
    """The faults of the config. Raises PlannedMistake for the first one that is wrong or cannot come."""
    faults = []
    for index, text in enumerate(plan.config.faults.play):
        with _entry(index):
            fault = parse(text, index + 1)
            for target in fault.targets:
                check_target(target, plan.layout)
            _check_trigger(fault, plan)
        faults.append(fault)
    _check_ids(faults)
    return tuple(faults)


def schedule_of(run: Run, restarts: int, resumed: int = 0, asked: Sequence[str] = ()) -> FaultSchedule:
    """The schedule of the config's faults. ``resumed``: attempts that another one has followed already.

    ``asked``: canonical words of faults that were asked for while the job ran.
    """
    drawn = run.config.faults.drawn == "play" and run.config.faults.rate > 0
    faults = (*planned_faults(run), *map(parse, asked))
    return FaultSchedule(run, faults, restarts, drawn, resumed, len(asked))


def run_in_attempt(run: Run, number: int) -> AttemptRun:
    """The run in an attempt that its job has come to. Raises ValueError if the job does not come to it."""
    schedule = schedule_of(run, number, number)
    attempts = [attempt for before in range(number + 1) if (attempt := schedule.attempt(before)) is not None]
    if len(attempts) <= number:
        raise ValueError(f"the job has no attempt {number}")
    return AttemptRun.of_attempt(run, attempts[-1], attempts[:-1])


def refuse_unreachable(run: Run, restarts: int) -> None:
    """Raise PlannedMistake for a fault whose time or attempt never comes although the job comes to its end."""
    schedule = schedule_of(run, restarts)
    with _entry(0):
        attempts = list(islice(schedule.attempts(), MOST_ATTEMPTS))
    last = attempts[-1]
    if last.ended_by:
        return  # the job is over before its end, and what would have come later is skipped
    struck = {strike.fault.id for attempt in attempts for strike in attempt.occurrences}
    for index, fault in enumerate(schedule.faults):
        at = fault.at
        if fault.id in struck:
            continue
        may_come = any(attempt.number in fault.attempts for attempt in attempts)
        if may_come and (fault.after or at.mtti_s is not None or at.chance is not None):
            continue
        with _entry(index):
            if at.time_s is not None and at.time_s >= last.end_s:
                raise FaultMistake(
                    f"{seconds_text(at.time_s)} never comes: the run ends after {last.end_s:,.0f} s",
                    "Use an earlier time, or more steps.",
                )
            starts = f"{len(attempts)} attempt{'s' * (len(attempts) > 1)}"
            moment = f"at={at}" if may_come and str(at) else f"attempt={fault.attempts}"
            raise FaultMistake(f"{moment} never comes in the {starts} of the run", "--plan shows what happens when.")


class _entry:
    """Turns a FaultMistake in the block into the PlannedMistake of an entry."""

    def __init__(self, index: int) -> None:
        self._index = index

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, FaultMistake):
            raise PlannedMistake(self._index, error) from None


def check_fault(fault: Fault, plan: Plan, others: Sequence[Fault]) -> None:
    """Raise FaultMistake for a fault that cannot come in a run, beside the faults that are there."""
    for target in fault.targets:
        check_target(target, plan.layout)
    _check_trigger(fault, plan)
    try:
        _check_ids([*others, fault])
    except PlannedMistake as mistake:
        raise mistake.mistake from None


def _check_trigger(fault: Fault, plan: Plan) -> None:
    """Raise FaultMistake for a trigger that cannot come in the run."""
    at, config, last = fault.at, plan.config, plan.last_step
    if at.step is not None and at.step > last:
        raise FaultMistake(f"step {at.step:,} never comes: the run has {last:,} steps", f"Use a step from 1 to {last}.")
    if at.phase in STEP_PHASES and at.count > last and not config.faults.restarts:
        raise FaultMistake(f"{at.phase} does not come {at.count:,} times in {last:,} steps", "Use a lower number.")
    every = config.checkpoint.every
    if at.phase == "checkpoint" and (not every or every > last):
        reason = "no checkpoint is written: checkpoint.every is " + (f"{every:,} of {last:,} steps" if every else "0")
        raise FaultMistake(reason, "Set checkpoint.every to fewer steps, or use another phase.")
    if fault.attempts.first > 0 and at.phase == "launch" and not config.faults.restarts:
        raise FaultMistake("no attempt follows the first: faults.restarts is 0", "Set faults.restarts.")


def _check_ids(faults: Sequence[Fault]) -> None:
    known: dict[str, int] = {}
    for index, fault in enumerate(faults):
        if fault.id in known:
            mistake = FaultMistake(
                f"id={quoted(fault.id)} is the name of fault {known[fault.id] + 1}, too", "Use another."
            )
            raise PlannedMistake(index, mistake)
        known[fault.id] = index
    for index, fault in enumerate(faults):
        if fault.after and fault.after.id not in known and not fault.after.id.startswith("drawn-"):
            way_out = guess(fault.after.id, known, "Give that fault an id=.")
            raise PlannedMistake(index, FaultMistake(f"after={quoted(fault.after.id)} is no fault here", way_out))
    parents = {fault.id: fault.after.id for fault in faults if fault.after}
    for index, fault in enumerate(faults):
        if fault.id in _ancestors(fault.id, parents):
            raise PlannedMistake(
                index, FaultMistake(f"{quoted(fault.id)} comes after itself", "Give one a moment: at=.")
            )


def _ancestors(name: str, parents: Mapping[str, str]) -> Iterator[str]:
    seen: set[str] = set()
    while (parent := parents.get(name)) is not None and parent not in seen:
        yield parent
        seen.add(parent)
        name = parent
