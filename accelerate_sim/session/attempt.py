"""``train_attempt``: one call of the training function for a run.

A run takes one attempt, or several if each but the last ends before the run does; an attempt that continues from a
checkpoint is given it in its ``PlannedRun``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import Enum
from pathlib import Path

from accelerate_sim.config.schema import RunConfig
from accelerate_sim.records import LaunchRecord
from accelerate_sim.session.planned_run import PlannedRun
from accelerate_sim.session.session import Session


class AttemptEnd(Enum):
    """The way in which an attempt ended without an exception."""

    FINISHED = "the training function has ended the run"
    UNFINISHED = "the training function has returned before it ended the run"


def report_launch(session: Session, planned: PlannedRun) -> None:
    """Report that this process has started to play a planned run, which the session must know already."""
    session.report(LaunchRecord(Path(sys.argv[0]).name, attempt_number(session, planned)))


def attempt_number(session: Session, planned: PlannedRun) -> int:
    """The number of the attempt at a planned run: that of its faults, or the launcher's."""
    number: int = session.placement.attempt if session.placement else 0
    return planned.faults.attempt.number if planned.faults else number


def train_attempt(train: Callable[[RunConfig], None], session: Session, planned: PlannedRun) -> AttemptEnd:
    """Call the training function for a planned run, at the present time of the clock. No run is active afterwards.

    An exception leaves the run active, so that the last line of the session says how far it came.
    """
    session.plan_run(planned)
    train(planned.plan.config)
    end = AttemptEnd.UNFINISHED if session.active else AttemptEnd.FINISHED
    if end is AttemptEnd.UNFINISHED:
        session.end_run()
    session.flush()
    return end
