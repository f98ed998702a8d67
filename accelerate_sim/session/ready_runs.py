"""Runs that a launcher has planned before it forks the ranks of a job, for the ranks to take.

All ranks of a job need the same plan, step times, curves and attempts. To compute them takes a rank 9 of the 25 ms of
processor time, and 2.4 of the 10.8 MB of its own memory, that it uses until its first step, and the launcher 16 to 33
ms. What is planned before the fork is there in all ranks, those of later attempts included, in memory that they share.

A run is taken only for the same config, so nothing else depends on whether it is there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from accelerate_sim.sim.run import Run

if TYPE_CHECKING:
    from accelerate_sim.session.faults.attempt_play import AttemptPlay
    from accelerate_sim.sim.plan import Plan

_ATTEMPTS: Final = 4
"""Attempts that are planned at the most; each one takes the launcher about 5 ms."""


@dataclass(frozen=True)
class _ReadyRun:
    data: Mapping[str, Any]
    """The raw config, as a ``ConfigSource`` has it."""
    message: Mapping[str, Any]
    """The config as other ranks are sent it."""
    run: Run
    plays: Mapping[tuple[int, int], AttemptPlay]
    """Attempts of a run with faults, by the restarts of the job and the number of the attempt."""


_ready: list[_ReadyRun] = []
"""The run that is planned, if there is one."""


def make_ready(data: Mapping[str, Any], plan: Plan, restarts: int) -> None:
    """Compute a run for the ranks that are forked from now on. ``restarts`` are those that the job may have."""
    run, faults = Run.of(plan), plan.config.faults
    plays: Mapping[tuple[int, int], AttemptPlay] = {}
    if faults.play or faults.drawn == "play":
        plays = _plays(run, restarts)
    else:
        _compute_first_step(run, 0)
    message = json.loads(json.dumps(plan.config.model_dump(mode="json"), default=str))
    _ready[:] = [_ReadyRun(data, message, run, plays)]


def run_of(data: Mapping[str, Any], number: int) -> Run | None:
    """Run ``number`` of a raw config; None if it is not planned."""
    return next((ready.run for ready in _ready if ready.run.number == number and ready.data == data), None)


def run_of_message(config: Mapping[str, Any] | None, number: int) -> Run | None:
    """Run ``number`` of a config that rank 0 has sent; None if it is not planned."""
    return next((ready.run for ready in _ready if ready.run.number == number and ready.message == config), None)


def play_of(run: Run, restarts: int, number: int, asked: Sequence[str]) -> AttemptPlay | None:
    """Attempt ``number`` of a run; None if it is not planned. ``asked``: faults that were asked for on the way."""
    return next((ready.plays.get((restarts, number)) for ready in _ready if ready.run is run and not asked), None)


def _plays(run: Run, restarts: int) -> dict[tuple[int, int], AttemptPlay]:
    from accelerate_sim.faults.planned import schedule_of
    from accelerate_sim.session.faults.attempt_play import AttemptPlay

    plays = {}
    for number in range(min(restarts + 1, _ATTEMPTS)):
        play = AttemptPlay.of(run, schedule_of(run, restarts, number), number)
        if play is None:
            break
        _compute_first_step(play.run, play.attempt.first_step)
        plays[restarts, number] = play
    return plays


def _compute_first_step(run: Run, step: int) -> None:
    """Compute the figures that all ranks need until they have made this step; they are cached in the run."""
    run.startup, run.chips, run.lr(0)
    run.timing(step), run.micro_losses(step), run.telemetry
