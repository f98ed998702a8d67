"""The session loop: call the training function for one run after the other, and map each ending to an exit code."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from accelerate_sim.artifacts.output_error import OutputError
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.display.screen import OutputClosed
from accelerate_sim.process.signals import Stopped
from accelerate_sim.records import EarlyEndRecord
from accelerate_sim.session.announced_attempt import announce, run_attempt
from accelerate_sim.session.log_handler import logging_to
from accelerate_sim.session.open_session import open_outputs, open_session, open_stdout
from accelerate_sim.session.options import SessionOptions
from accelerate_sim.session.planned_run import PlannedRun
from accelerate_sim.session.run_source import RunSource
from accelerate_sim.session.session import Session
from accelerate_sim.session.terminal import on_terminal
from accelerate_sim.sim.plan import Plan
from fake_torch_dist.terminal.descriptor import printable

if TYPE_CHECKING:
    from accelerate_sim.session.coordination import Coordination

Train = Callable[[RunConfig], None]
"""The training function of a script: it trains one run."""

PAUSE_S = 60.0
"""Simulated seconds between two runs."""
READING_S = 5.0
"""Real seconds for which a summary stays on a terminal before the next run begins, at any speed."""


def run_session(train: Train, source: RunSource, options: SessionOptions) -> int:
    """Train all runs of a session. Returns the exit code: 0; 1 after a write error; 128 + the signal that ended it.

    Raises ConfigError for every mistake of the user before anything is shown or written.
    """
    open_stdout()
    resumption = options.resumption
    number = resumption.state.run if resumption else _first_number(options)
    first = source.plan(number)
    if resumption:
        from accelerate_sim.checkpoints.resume import tidy
        from accelerate_sim.checkpoints.same_config import refuse_differences

        refuse_differences(resumption, first.config, options.start_time, drawn=source.drawn)
        runs = _number_of_runs(first.config, options)
        if runs and number > runs:
            tidy(resumption.output_dir)
            where = printable(options.output_dir)
            print(f"{where}: the run is finished, nothing is left to play. --runs {number} plays another.")
            return 0
    if first.config.log.trackers:
        from accelerate_sim.tracking.registry import require_packages

        require_packages(first.config.log.trackers, options.output_dir)
    if first.config.log.hazards:
        from accelerate_sim.session.hazards import require_directory

        require_directory(first.config.log.hazards, options.output_dir)
    session = open_session(options)
    open_outputs(session, options, first.config)
    return _run_opened(train, source, session, first, options)


def _run_opened(train: Train, source: RunSource, session: Session, first: Plan, options: SessionOptions) -> int:
    with logging_to(session):
        session.enter()
        try:
            with session.signals:
                code = _run_until_told(train, source, session, first, options)
            session.outputs.close()
            return code
        except KeyboardInterrupt:  # the second Ctrl-C: no last line is printed
            session.hurry()
            with suppress(OutputClosed):
                session.screen.close()
            return 130
        except OutputError as error:
            with suppress(OutputClosed):
                session.screen.close()
            print(error, file=sys.stderr)
            return 1
        finally:
            session.leave()
            with suppress(OutputError):  # it has been printed, or the output is closed
                session.outputs.close()


def _run_until_told(train: Train, source: RunSource, session: Session, first: Plan, options: SessionOptions) -> int:
    """Train all runs until they are over, a signal ends the session, or another rank is lost."""
    try:
        try:
            return _run_all(train, source, session, first, options)
        except Exception as error:
            session.signals.end_if_told()  # Stopped may have been swallowed by an import; raise it again
            if session.coordination is None or not session.coordination.is_peer_failure(error):
                raise
            return _end_after_peer_failure(session, session.coordination, error)
    except Stopped as stopped:
        return _end_early(session, stopped)


def _end_after_peer_failure(session: Session, coordination: Coordination, error: Exception) -> int:
    code = coordination.end.exit_code_after(error, session.signals)
    session.hurry()
    with suppress(OutputClosed):
        _write_last_line(session, "aborted")
    return code


def _end_early(session: Session, stopped: Stopped) -> int:
    session.hurry()
    if session.coordination:
        session.coordination.end.announce()
    saved = session.active.save() if stopped.preempted and session.active else None
    with suppress(OutputClosed):  # the terminal has hung up, or the reader takes nothing
        _write_last_line(session, stopped.reason, saved)
    return stopped.exit_code


def _run_all(train: Train, source: RunSource, session: Session, first: Plan, options: SessionOptions) -> int:
    """Train all runs. Returns the exit code: 1 if faults have ended a job for good."""
    runs, resumption = _number_of_runs(first.config, options), options.resumption
    if options.prompt is not None:
        from accelerate_sim.session.prompt import type_prompt

        type_prompt(session, options.prompt)
    play = partial(run_attempt, train, session, is_steered=not options.recording)
    for number in itertools.count(first.number):
        plan = first if number == first.number else source.plan(number)
        planned, is_last = PlannedRun(plan, resumption), number == runs
        if _faults_may_strike(session, planned):
            if not plan.config.faults.happen and not resumption:
                session.plan_run(planned)
                announce(session, planned)  # before the modules of the faults are imported
            from accelerate_sim.session.faults.attempts import play_attempts

            if code := play_attempts(session, planned, partial(play, is_last=is_last)):
                return code
        else:
            play(planned, is_last=is_last)
        if number == runs:
            break
        resumption = None
        session.clock.advance(PAUSE_S)
        if session.screen.live and session.clock.speed < math.inf:
            session.signals.wait(READING_S - PAUSE_S / session.clock.speed)
        if _ends_between_runs(options, session, number + 1):
            break
    session.screen.end()
    return 0


def _faults_may_strike(session: Session, planned: PlannedRun) -> bool:
    """True for a run whose config names faults, and for one that can be asked for them, or was before it was resumed.

    It can be asked by keys and by ``fake-torchrun ctl``; a clock that never waits reads neither.
    """
    config, directory = planned.plan.config, session.outputs.directory
    if config.faults.happen or (config.run.speed < math.inf and (config.faults.asked or session.keys is not None)):
        return True
    if planned.resumption is None or directory is None:
        return False
    from accelerate_sim.tracking.fault_count import names_faults

    return names_faults(directory)


def _number_of_runs(config: RunConfig, options: SessionOptions) -> int:
    """Number of runs; 0: endless."""
    asked = config.run.runs
    endless = options.recording.endless if options.recording else on_terminal(1)
    return asked if asked is not None else (0 if endless else 1)


def _first_number(options: SessionOptions) -> int:
    """Number of the first run of a session that resumes none."""
    return options.recording.beginning.number if options.recording else 1


def _ends_between_runs(options: SessionOptions, session: Session, number: int) -> bool:
    """True if the session is recorded and ends before run ``number``. Its dashboard is left to the next one."""
    if (recording := options.recording) is None:
        return False
    from accelerate_sim.session.recorded_terminal import RunBeginning

    dashboard = None
    if options.dashboard:
        from accelerate_sim.session.dashboard import canvas_of

        dashboard = canvas_of(session)
    state = dashboard.state() if dashboard else None
    ends = recording.ends_before(RunBeginning(number, session.clock.now_s, recording.time.now_s, state))
    if dashboard and ends:
        dashboard.leave_shown()
    return ends


def _write_last_line(session: Session, reason: str, saved: str | None = None) -> None:
    """Print how far the session was when it ended early."""
    session.screen.end()
    session.console.end_early(EarlyEndRecord(reason, session.runs.where(), saved))
    session.flush_screen()
