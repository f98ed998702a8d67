"""Plays runs one after the other in one session, and ends it as a good program does."""

from __future__ import annotations

import itertools
import logging
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from accelerate_sim.clock import Clock
from accelerate_sim.config.load import ConfigSource
from accelerate_sim.config.problems import ConfigError, Problem
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.display.screen import OutputClosed, Screen, without_blocking
from accelerate_sim.display.style import Style
from accelerate_sim.interrupts import Interrupts, Stopped
from accelerate_sim.logging import ScreenHandler, fold, get_logger
from accelerate_sim.session import Session, terminal_style
from accelerate_sim.sim.fit import misfit
from accelerate_sim.sim.plan import Plan

if TYPE_CHECKING:
    from accelerate_sim.publishing import Publisher
    from accelerate_sim.recording import Recording
    from accelerate_sim.tracking.jsonl import JsonlTracker

logger = get_logger(__name__)

PAUSE_S = 60.0
"""Simulated seconds between two runs."""
READING_S = 5.0
"""Real seconds for which a summary stays on a terminal before the next run begins, whatever the speed."""


class Score:
    """Which runs are played: a config file, or anything from the catalog."""

    def __init__(self, path: Path | None, changes: Sequence[str], seed: int | None) -> None:
        self._changes = changes
        source = ConfigSource.read(path, changes)
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

        return ConfigSource.read(None, self._changes, base=draw_run(self._draw_seed, number, self._given))


@dataclass(frozen=True)
class Options:
    """How a session is played, beside what its config says."""

    start_time: datetime | None = None
    duration_s: float | None = None
    output_dir: Path | None = None
    ascii_only: bool = False
    progress: bool = True
    recording: Recording | None = None
    """Takes the place of standard output."""


def play(train: Callable[[RunConfig], None], score: Score, options: Options) -> int:
    """Play all runs. Returns the exit code: 0, or 128 + the signal that ended it."""
    _open_output()
    first = score.config(1)  # every mistake of the user's is found before anything is shown or written
    session = _session(options)
    publisher = _publisher(session) if first.run.publish and not options.recording else None
    tracker = _tracker(options.output_dir, first)
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
        if publisher:
            publisher.close()
        if tracker:
            tracker.close()


def record(
    train: Callable[[RunConfig], None], score: Score, options: Options, path: Path, size: tuple[int, int]
) -> int:
    """Play all runs into a recording at ``path``. Returns the exit code; only with 0 there is one."""
    from accelerate_sim.recording import Recording, RecordingFailed

    _refuse_endless(score.config(1), options)
    try:
        recording = Recording(path, *size)
    except FileExistsError:
        reason, way_out = "exists already", "Name another file; recordings are never overwritten."
        raise ConfigError([Problem("--record", None, "", str(path), reason, way_out)]) from None
    except OSError as error:
        reason, way_out = f"can't be written: {error.strerror}", "Name a file that you may write."
        raise ConfigError([Problem("--record", None, "", str(path), reason, way_out)]) from None
    with recording:
        try:
            code = play(train, score, replace(options, recording=recording))
            if code == 0:
                recording.keep()
        except RecordingFailed as error:
            print(error, file=sys.stderr)
            return 1
    print(recording.summary() if code == 0 else f"--record: ended early, {path} has not been written", flush=True)
    return code


def _refuse_endless(first: RunConfig, options: Options) -> None:
    """A recording needs a pace, and an end."""
    if math.inf in (first.run.speed, first.run.startup_speed):
        way_out = "Say how many simulated seconds a recorded one holds, e.g. --record-pace 250."
        raise ConfigError([Problem("--record", None, "run.speed", "max", "leaves no time to see anything", way_out)])
    if first.run.runs == 0 and options.duration_s is None:
        way_out = "Give --runs or --duration."
        raise ConfigError([Problem("--record", None, "run.runs", "0", "never ends", way_out)])


def _open_output() -> None:
    """Without a standard output (``>&-``) nothing is shown, and no file that is opened later is taken for it."""
    if sys.stdout is None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    else:
        sys.stdout.flush()


def _session(options: Options) -> Session:
    if options.recording:
        return _recorded_session(options, options.recording)
    live, style = terminal_style(1, ascii_only=options.ascii_only)
    interrupts = Interrupts()
    if options.duration_s is not None:
        interrupts.deadline = time.monotonic() + options.duration_s
    start = options.start_time or datetime.now().replace(microsecond=0)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return Session(
        screen=Screen(without_blocking(1), live=live, encoding=encoding),
        clock=Clock(start, wait=interrupts.wait, monotonic=interrupts.awake_s),
        style=style,
        interrupts=interrupts,
        progress=options.progress,
        output_dir=options.output_dir,
    )


def _recorded_session(options: Options, recording: Recording) -> Session:
    start = options.start_time or datetime.now().replace(microsecond=0)
    recording.begin(start, f"{Path(sys.argv[0]).name} (simulated)")
    style = Style(color=not os.environ.get("NO_COLOR"), ascii=options.ascii_only)
    make = partial(Session, progress=options.progress, output_dir=options.output_dir)
    return recording.session(start, style, duration_s=options.duration_s, make=make)


def _play_until_told(train: Callable[[RunConfig], None], score: Score, session: Session, first: RunConfig) -> int:
    try:
        try:
            _play_runs(train, score, session, first)
        except Exception:
            session.interrupts.end_if_told()  # an import has made another error of it
            raise
        return 0
    except Stopped as stopped:
        session.hurry()
        with suppress(OutputClosed):  # a terminal that has hung up, or a reader that takes nothing
            _say_where(session, stopped)
        return stopped.exit_code


def _play_runs(train: Callable[[RunConfig], None], score: Score, session: Session, first: RunConfig) -> None:
    asked = first.run.runs
    runs = asked if asked is not None else (0 if os.isatty(session.screen.fd) else 1)
    for number in itertools.count(1):
        config = first if number == 1 else score.config(number)
        _announce(session, Plan(config, number))
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
    session.flush()


def _say_where(session: Session, stopped: Stopped) -> None:
    """The last line: where the run stood when it ended early."""
    screen = session.screen
    screen.close()
    screen.write(fold(f"{stopped.reason.capitalize()}: {session.where()}", screen.width))
    screen.flush()


def _publisher(session: Session) -> Publisher:
    from accelerate_sim.publishing import Publisher
    from accelerate_sim.runtime_directory import UnsafeDirectory

    try:
        publisher = Publisher(session.clock, session.interrupts)
    except UnsafeDirectory as error:
        way_out = "Make it your own with mode 700, or point XDG_RUNTIME_DIR at a directory that is."
        raise ConfigError([Problem("--publish", None, "", str(error.path), error.reason, way_out)]) from None
    session.observers.append(publisher)
    return publisher


def _tracker(directory: Path | None, config: RunConfig) -> JsonlTracker | None:
    if directory is None:
        return None
    from accelerate_sim.tracking.jsonl import JsonlTracker

    try:
        directory.mkdir(parents=True, exist_ok=True)
        return JsonlTracker(directory, every_gpu=config.log.gpu_detail == "full")
    except FileExistsError:
        reason, way_out = "holds another run", "Name another directory; runs are never overwritten."
    except OSError as error:
        reason, way_out = f"can't be written: {error.strerror}", "Name a directory that you may write to."
    raise ConfigError([Problem("--output-dir", None, "", str(directory), reason, way_out)])
