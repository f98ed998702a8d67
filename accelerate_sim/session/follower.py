"""A rank other than 0: plays what rank 0 says, says only what is its own, and ends when the others do.

It never waits on the clock, since the collectives hold it back, and reads no command line.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from accelerate_sim.config.schema import RunConfig
from accelerate_sim.display.screen import OutputClosed, Screen
from accelerate_sim.logging import ScreenHandler
from accelerate_sim.process.clock import Clock
from accelerate_sim.process.signals import Signals, Stopped
from accelerate_sim.session.coordination import Job, leave_world
from accelerate_sim.session.cue import Cue
from accelerate_sim.session.session import Session, terminal_style

if TYPE_CHECKING:
    from accelerate_sim.process.placement import Placement

SIGPIPE_EXIT = 128 + 13


def follow(train: Callable[[RunConfig], None], placement: Placement) -> int:
    """Play every run that rank 0 begins. Returns the exit code."""
    job, signals = Job(placement), Signals()
    try:
        with signals, signals.at_once():
            try:
                return _play(train, job, signals)
            except Exception as error:
                if not job.broke(error):
                    raise
                return job.end_broken(error, signals)
            finally:
                leave_world()
    except Stopped as stopped:
        return stopped.exit_code
    except KeyboardInterrupt:
        return 130
    except (OutputClosed, BrokenPipeError):
        return SIGPIPE_EXIT


def _play(train: Callable[[RunConfig], None], job: Job, signals: Signals) -> int:
    cue = job.take()
    session = _session(cue, job, signals)
    handler = ScreenHandler(session)
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.INFO)
    session.enter()
    try:
        while cue.config is not None:
            session.clock.advance_to(cue.now_s)
            session.world_size = job.placement.world_size
            session.run_number, session.resumption = cue.number, cue.resumption
            train(RunConfig.model_validate(cue.config))
            session.flush()
            if cue.is_last:
                return 0
            cue = job.take()
        return cue.exit_code
    finally:
        logging.getLogger().removeHandler(handler)
        session.leave()


def _session(cue: Cue, job: Job, signals: Signals) -> Session:
    _, style = terminal_style(1)
    screen = Screen(1, live=False, encoding=getattr(sys.stdout, "encoding", None) or "utf-8")
    clock = Clock(cue.start, wait=lambda seconds: screen.flush())
    return Session(screen=screen, clock=clock, style=style, signals=signals, progress=False, job=job)
