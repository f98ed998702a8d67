"""Plays runs one after the other in one session, and ends it as a good program does."""

from __future__ import annotations

import itertools
import logging
import math
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from accelerate_sim.artifacts.output_error import OutputError
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.display.screen import OutputClosed
from accelerate_sim.display.units import machines_text
from accelerate_sim.logging import ScreenHandler, fold, get_logger
from accelerate_sim.process.signals import Stopped
from accelerate_sim.session.outputs import open_metrics, open_output, open_publisher, open_session
from accelerate_sim.session.run_source import Options, Score
from accelerate_sim.session.session import Session, on_terminal
from accelerate_sim.sim.plan import Plan
from fake_torch_dist.terminal.descriptor import printable

if TYPE_CHECKING:
    from accelerate_sim.checkpoints.resume import Resumption
    from accelerate_sim.session.coordination import Job
    from accelerate_sim.tracking.tracker import Keeper

logger = get_logger(__name__)

PAUSE_S = 60.0
"""Simulated seconds between two runs."""
READING_S = 5.0
"""Real seconds for which a summary stays on a terminal before the next run begins, whatever the speed."""


def play(train: Callable[[RunConfig], None], score: Score, options: Options) -> int:
    """Play all runs. Returns the exit code: 0, 1 if something can't be written, or 128 + the signal that ended it."""
    open_output()
    resumption = options.resumption
    number = resumption.state.run if resumption else 1
    first = score.config(number)  # every mistake of the user's is found before anything is shown or written
    if resumption:
        from accelerate_sim.checkpoints.resume import refuse_differences

        refuse_differences(resumption, first, options.start_time, drawn=score.drawn)
    runs = _number_of_runs(first, options)
    if resumption and runs and number > runs:
        from accelerate_sim.checkpoints.resume import tidy

        tidy(resumption.output_dir)
        where = printable(options.output_dir)
        print(f"{where}: the run is finished, nothing is left to play. --runs {number} plays another.")
        return 0
    if first.log.trackers:
        from accelerate_sim.tracking.registry import require_packages

        require_packages(first.log.trackers, options.output_dir)
    session = open_session(options)
    if first.run.publish and not options.recording:
        publisher = open_publisher(session)
        session.trackers += [publisher] if publisher else []
    if first.log.trackers:
        from accelerate_sim.tracking.registry import open_trackers

        session.trackers += open_trackers(
            first.log, options.output_dir, session.signals, lambda: session.look() if session.look else None
        )
    tracker = open_metrics(options, first)
    session.run_number = number
    handler = ScreenHandler(session)
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.INFO)
    session.metrics = tracker
    kept: list[Keeper] = [*([tracker] if tracker else []), *session.trackers]
    session.observers += kept
    session.enter()
    try:
        with session.signals:
            code = _play_until_told(train, score, session, first, options)
        _close(kept)
        return code
    except KeyboardInterrupt:  # the second Ctrl-C: there is no last line
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
        logging.getLogger().removeHandler(handler)
        session.leave()
        with suppress(OutputError):  # said already, or the output is closed
            _close(kept)


def _close(kept: Sequence[Keeper]) -> None:
    for each in kept:
        each.close()


def _play_until_told(
    train: Callable[[RunConfig], None], score: Score, session: Session, first: RunConfig, options: Options
) -> int:
    try:
        try:
            _play_runs(train, score, session, first, options)
        except Exception as error:
            session.signals.end_if_told()  # an import has made another error of it
            if session.job is None or not session.job.broke(error):
                raise
            return _end_broken(session, session.job, error)
        return 0
    except Stopped as stopped:
        return _end_early(session, stopped)


def _end_broken(session: Session, job: Job, error: Exception) -> int:
    code = job.end_broken(error, session.signals)
    session.hurry()
    with suppress(OutputClosed):
        _say_where(session, "aborted")
    return code


def _end_early(session: Session, stopped: Stopped) -> int:
    session.hurry()
    saved = session.save() if stopped.preempted and session.save else None
    with suppress(OutputClosed):  # a terminal that has hung up, or a reader that takes nothing
        _say_where(session, stopped.reason, saved)
    return stopped.exit_code


def _play_runs(
    train: Callable[[RunConfig], None], score: Score, session: Session, first: RunConfig, options: Options
) -> None:
    runs, begin = _number_of_runs(first, options), session.run_number
    for number in itertools.count(begin):
        config = first if number == begin else score.config(number)
        if session.resumption:
            _go_on(session, config, session.resumption)
        _announce(session, Plan(config, number))
        if session.job:
            _give_cue(session, session.job, config, is_last=number == runs)
        train(config)
        session.flush()
        if number == runs:
            break
        session.clock.advance(PAUSE_S)
        if session.screen.live and session.clock.speed < math.inf:
            session.signals.wait(READING_S - PAUSE_S / session.clock.speed)
    session.screen.close()


def _number_of_runs(config: RunConfig, options: Options) -> int:
    """Runs to play; 0: for ever."""
    asked = config.run.runs
    return asked if asked is not None else (0 if on_terminal(1) and not options.recording else 1)


def _go_on(session: Session, config: RunConfig, resumption: Resumption) -> None:
    """Set the clock to when the process starts that goes on, and say what was wrong with other checkpoints."""
    state = resumption.state
    session.clock.jump_to(state.clock_s)
    if resumption.checkpoint:
        from accelerate_sim.checkpointing import restart_s
        from accelerate_sim.sim.run import Run

        session.clock.jump_to(restart_s(Run(config, state.run), state))
    session.world_size = Plan(config, state.run).layout.world_size
    for sentence in resumption.damaged:
        logger.warning("Checkpoint %s", printable(sentence))
    logger.info("Going on from %s", printable(resumption.checkpoint or f"the beginning of run {state.run}"))


def _announce(session: Session, plan: Plan) -> None:
    """The first line, at once: whatever is still to be imported comes after it."""
    layout = plan.layout
    session.world_size = layout.world_size
    name = f"Run {plan.number}: {Path(sys.argv[0]).name}"
    size = machines_text(layout.nodes, layout.gpus_per_node)
    logger.info("%s on %s = %s ranks | seed %d", name, size, f"{layout.world_size:,}", plan.seed)
    if session.placement and session.placement.attempt:
        logger.info("Attempt %d: the launcher has restarted the job", session.placement.attempt + 1)
    session.flush()


def _give_cue(session: Session, job: Job, config: RunConfig, *, is_last: bool) -> None:
    """Let the other processes begin the same run."""
    from accelerate_sim.session.cue import Cue

    clock = session.clock
    cue = Cue(config.model_dump(mode="json"), session.run_number, clock.start, clock.now_s, session.resumption, is_last)
    with session.signals.at_once():
        job.give(cue)


def _say_where(session: Session, reason: str, saved: str | None = None) -> None:
    """The last line: where the run stood when it ended early."""
    screen = session.screen
    screen.close()
    what = f"{reason.capitalize()}: {session.where()}" + (f" | {saved}" if saved else "")
    screen.write(fold(what, screen.width))
    screen.flush()
