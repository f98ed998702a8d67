"""Plays runs one after the other in one session, and ends it as a good program does."""

from __future__ import annotations

import itertools
import logging
import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate_sim.clock import Clock
from accelerate_sim.config.load import ConfigSource
from accelerate_sim.config.problems import ConfigError, Problem
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.display.screen import OutputClosed, Screen, without_blocking
from accelerate_sim.interrupts import Interrupts, Stopped
from accelerate_sim.job import Cue, Job, is_of_job
from accelerate_sim.logging import ScreenHandler, fold, get_logger
from accelerate_sim.placement import Placement, terminal_behind_launcher
from accelerate_sim.session import Session, on_terminal, terminal_style
from accelerate_sim.sim.fit import misfit
from accelerate_sim.sim.plan import Plan

if TYPE_CHECKING:
    from accelerate_sim.tracking.jsonl import JsonlTracker

logger = get_logger(__name__)

PAUSE_S = 60.0
"""Simulated seconds between two runs."""
READING_S = 5.0
"""Real seconds for which a summary stays on a terminal before the next run begins, whatever the speed."""


class Score:
    """Which runs are played: a config file, or anything from the catalog; on as many GPUs as there are processes."""

    def __init__(
        self, path: Path | None, changes: Sequence[str], seed: int | None, placement: Placement | None = None
    ) -> None:
        self._changes = changes
        self._placement = placement
        source = self._read(path)
        self._source = source if path else None
        self._given = source.data
        # Nobody asked for a particular run, so each session shows others.
        self._draw_seed = seed if seed is not None else int.from_bytes(os.urandom(4), "little")

    def config(self, number: int) -> RunConfig:
        """The config of run ``number``. Raises ConfigError, also when its model does not fit its GPUs."""
        source = self._source or self._drawn(number)
        return source.resolve(number, check=lambda config: misfit(Plan(config, number)))

    def _drawn(self, number: int) -> ConfigSource:
        from accelerate_sim.draw import draw_run

        return self._read(None, base=draw_run(self._draw_seed, number, self._given))

    def _read(self, path: Path | None, base: Mapping[str, Any] | None = None) -> ConfigSource:
        source = ConfigSource.read(path, self._changes, base)
        if self._placement is None:
            return source
        cluster = {"nodes": self._placement.num_nodes, "gpus_per_node": self._placement.local_world_size}
        return source.with_cluster(cluster, "launcher")


@dataclass(frozen=True)
class Options:
    """How a session is played, beside what its config says."""

    start_time: datetime | None = None
    duration_s: float | None = None
    output_dir: Path | None = None
    ascii_only: bool = False
    progress: bool = True
    job: Job | None = None
    """The processes that play one rank each; this one is rank 0."""


def play(train: Callable[[RunConfig], None], score: Score, options: Options) -> int:
    """Play all runs. Returns the exit code: 0, or 128 + the signal that ended it."""
    _open_output()
    first = score.config(1)  # every mistake of the user's is found before anything is shown or written
    attempt = options.job.placement.attempt if options.job else 0
    tracker = _tracker(options.output_dir, first, goes_on=attempt > 0)
    session = _session(options)
    handler = ScreenHandler(session)
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.INFO)
    if tracker:
        session.observers.append(tracker)
    session.enter()
    try:
        with session.interrupts:
            return _play_until_told(train, score, session, first)
    except KeyboardInterrupt:  # the second Ctrl-C: there is no last line
        session.hurry()
        with suppress(OutputClosed):
            session.screen.close()
        return 130
    finally:
        logging.getLogger().removeHandler(handler)
        session.leave()
        if tracker:
            tracker.close()


def _open_output() -> None:
    """Without a standard output (``>&-``) nothing is shown, and no file that is opened later is taken for it."""
    if sys.stdout is None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    else:
        sys.stdout.flush()


def _session(options: Options) -> Session:
    live, style = terminal_style(1, ascii_only=options.ascii_only)
    interrupts = Interrupts()
    if options.duration_s is not None:
        interrupts.deadline = time.monotonic() + options.duration_s
    start = options.start_time or datetime.now().replace(microsecond=0)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return Session(
        screen=Screen(without_blocking(1), live=live, terminal=terminal_behind_launcher(), encoding=encoding),
        clock=Clock(start, wait=interrupts.wait, monotonic=interrupts.awake_s),
        style=style,
        interrupts=interrupts,
        progress=options.progress,
        output_dir=options.output_dir,
        job=options.job,
    )


def _play_until_told(train: Callable[[RunConfig], None], score: Score, session: Session, first: RunConfig) -> int:
    try:
        try:
            _play_runs(train, score, session, first)
        except Exception as error:
            session.interrupts.end_if_told()  # an import has made another error of it
            if session.job is None or not is_of_job(error):
                raise
            return _end_broken(session, session.job, error)
        return 0
    except Stopped as stopped:
        return _end_early(session, stopped)


def _end_broken(session: Session, job: Job, error: Exception) -> int:
    code = job.end_broken(error, session.interrupts)
    session.hurry()
    with suppress(OutputClosed):
        _say_where(session, "aborted")
    return code


def _end_early(session: Session, stopped: Stopped) -> int:
    session.hurry()
    with suppress(OutputClosed):  # a terminal that has hung up, or a reader that takes nothing
        _say_where(session, stopped.reason)
    return stopped.exit_code


def _play_runs(train: Callable[[RunConfig], None], score: Score, session: Session, first: RunConfig) -> None:
    asked = first.run.runs
    runs = asked if asked is not None else (0 if on_terminal(1) else 1)
    for number in itertools.count(1):
        config = first if number == 1 else score.config(number)
        _announce(session, Plan(config, number))
        if session.job:
            _give_cue(session, session.job, config, is_last=number == runs)
        train(config)
        session.flush()
        if number == runs:
            break
        session.clock.advance(PAUSE_S)
        if session.screen.live and session.clock.speed < math.inf:
            session.interrupts.wait(READING_S - PAUSE_S / session.clock.speed)
    session.screen.close()


def _announce(session: Session, plan: Plan) -> None:
    """The first line, at once: whatever is still to be imported comes after it."""
    layout = plan.layout
    session.world_size = layout.world_size
    name = f"Run {plan.number}: {Path(sys.argv[0]).name}"
    size = f"{layout.nodes:,} nodes x {layout.gpus_per_node} GPUs"
    logger.info("%s on %s = %s ranks | seed %d", name, size, f"{layout.world_size:,}", plan.seed)
    if session.placement and session.placement.attempt:
        logger.info("Attempt %d: the launcher has restarted the job, which begins anew", session.placement.attempt + 1)
    session.flush()


def _give_cue(session: Session, job: Job, config: RunConfig, *, is_last: bool) -> None:
    """Let the other processes begin the same run."""
    with session.interrupts.at_once():
        job.give(Cue(config.model_dump(mode="json"), session.clock.start, session.clock.now_s, is_last))


def _say_where(session: Session, reason: str) -> None:
    """The last line: where the run stood when it ended early."""
    screen = session.screen
    screen.close()
    screen.write(fold(f"{reason.capitalize()}: {session.where()}", screen.width))
    screen.flush()


def _tracker(directory: Path | None, config: RunConfig, *, goes_on: bool) -> JsonlTracker | None:
    if directory is None:
        return None
    from accelerate_sim.tracking.jsonl import JsonlTracker

    try:
        directory.mkdir(parents=True, exist_ok=True)
        return JsonlTracker(directory, every_gpu=config.log.gpu_detail == "full", goes_on=goes_on)
    except FileExistsError:
        reason, way_out = "holds another run", "Name another directory; runs are never overwritten."
    except OSError as error:
        reason, way_out = f"can't be written: {error.strerror}", "Name a directory that you may write to."
    raise ConfigError([Problem("--output-dir", None, "", str(directory), reason, way_out)])
