"""The main loop of ranks 1..N-1: receive each run from rank 0, train, log the lines of this rank, exit with the job.

These ranks read no command line. Their clock never waits, since the collectives keep them in step with rank 0.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from accelerate_sim.config.schema import RunConfig
from accelerate_sim.display.screen import OutputClosed, Screen
from accelerate_sim.display.slow_reader import OutputFull
from accelerate_sim.process.clock import Clock
from accelerate_sim.process.signals import SIGPIPE_EXIT, Signals, Stopped
from accelerate_sim.session import ready_runs
from accelerate_sim.session.attempt import report_launch, train_attempt
from accelerate_sim.session.coordination import Coordination, leave_world
from accelerate_sim.session.log_handler import logging_to
from accelerate_sim.session.planned_run import PlannedRun
from accelerate_sim.session.session import Session
from accelerate_sim.session.start_message import StartMessage
from accelerate_sim.session.terminal import terminal_style
from accelerate_sim.sim.run import Run

if TYPE_CHECKING:
    from accelerate_sim.process.placement import Placement


def run_follower(train: Callable[[RunConfig], None], placement: Placement) -> int:
    """Train every run that rank 0 begins. Returns the exit code."""
    coordination, signals = Coordination(placement), Signals()
    try:
        with signals, signals.at_once():
            try:
                return _exit_code(train, coordination, signals)
            except Stopped as stopped:  # by the first signal: a second one ends the wait
                return coordination.end.exit_code_after_signal(stopped.exit_code)
            finally:
                if not _raised_by_training(coordination):
                    leave_world()  # which would take the rank from the lines of an exception's traceback
    except Stopped as stopped:
        return stopped.exit_code
    except KeyboardInterrupt:
        return 130
    except OutputFull as error:
        sys.stderr.write(f"[rank{placement.rank}]: {error}\n")
        return 1
    except (OutputClosed, BrokenPipeError):
        return SIGPIPE_EXIT


def _exit_code(train: Callable[[RunConfig], None], coordination: Coordination, signals: Signals) -> int:
    try:
        return _run_attempts(train, coordination, signals)
    except Exception as error:
        if not coordination.is_peer_failure(error):
            raise
        return coordination.end.exit_code_after(error, signals)


def _raised_by_training(coordination: Coordination) -> bool:
    """True while an exception of the training function ends this process."""
    error = sys.exception()
    return isinstance(error, Exception) and not isinstance(error, Stopped) and not coordination.is_peer_failure(error)


def _run_attempts(train: Callable[[RunConfig], None], coordination: Coordination, signals: Signals) -> int:
    message = coordination.receive()
    session = _session(message, coordination, signals)
    with logging_to(session):
        session.enter()
        try:
            _open_exporters(session, message)
            while message.config is not None:
                session.clock.jump_to(message.now_s)
                planned = _planned(message)
                session.plan_run(planned)
                report_launch(session, planned)
                train_attempt(train, session, planned)
                if message.is_last:
                    return 0
                message = coordination.receive()
            return message.exit_code
        finally:
            session.leave()
            session.outputs.close()


def _open_exporters(session: Session, message: StartMessage) -> None:
    log = (message.config or {}).get("log", {})
    if "prometheus" in log.get("trackers", ()):
        from accelerate_sim.session.node_exporters import open_node_exporters

        open_node_exporters(session, RunConfig.model_validate(message.config).log)


def _planned(message: StartMessage) -> PlannedRun:
    """The run that rank 0 begins; its faults are derived here as they are there."""
    run = ready_runs.run_of_message(message.config, message.number)
    if run is None:
        run = Run(RunConfig.model_validate(message.config), message.number)
    if message.attempt is None:
        return PlannedRun(run, message.resumption)
    play = ready_runs.play_of(run, message.restarts, message.attempt, message.asked)
    if play is None:
        from accelerate_sim.faults.planned import schedule_of
        from accelerate_sim.session.faults.attempt_play import AttemptPlay

        schedule = schedule_of(run, message.restarts, message.attempt, message.asked)
        play = AttemptPlay.of(run, schedule, message.attempt)
    assert play is not None
    return PlannedRun(play.run, message.resumption, faults=play)


def _session(message: StartMessage, coordination: Coordination, signals: Signals) -> Session:
    _, style = terminal_style(1)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    screen = Screen(1, live=False, encoding=encoding, on_blocked=signals.end_if_told)
    clock = Clock(message.start, wait=lambda seconds: session.flush_screen())
    session = Session(
        screen=screen,
        clock=clock,
        style=style,
        signals=signals,
        progress=False,
        coordination=coordination,
        named_directory=Path(message.output_dir) if message.output_dir else None,
        truth_directory=Path(message.cwd, message.output_dir) if message.output_dir else None,
    )
    return session
