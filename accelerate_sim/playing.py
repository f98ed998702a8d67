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
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate_sim.artifacts.output_error import OutputError
from accelerate_sim.clock import Clock
from accelerate_sim.config.load import ConfigSource
from accelerate_sim.config.problems import ConfigError, Problem
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.display.screen import OutputClosed, Screen, without_blocking
from accelerate_sim.display.style import Style
from accelerate_sim.interrupts import Interrupts, Stopped
from accelerate_sim.job import Cue, Job, is_of_job
from accelerate_sim.logging import ScreenHandler, fold, get_logger
from accelerate_sim.placement import Placement, terminal_behind_launcher
from accelerate_sim.resuming import refuse_differences
from accelerate_sim.session import Session, on_terminal, terminal_style
from accelerate_sim.sim.fit import misfit
from accelerate_sim.sim.plan import Plan
from accelerate_sim.tracking.opening import open_trackers, require_packages

if TYPE_CHECKING:
    from accelerate_sim.publishing import Publisher
    from accelerate_sim.recording import Recording
    from accelerate_sim.resuming import Resumption
    from accelerate_sim.tracking.jsonl import JsonlTracker
    from accelerate_sim.tracking.opening import Keeper

logger = get_logger(__name__)

PAUSE_S = 60.0
"""Simulated seconds between two runs."""
READING_S = 5.0
"""Real seconds for which a summary stays on a terminal before the next run begins, whatever the speed."""


class Score:
    """Which runs are played: a config file, or anything from the catalog; on as many GPUs as there are processes."""

    def __init__(
        self,
        path: Path | None,
        changes: Sequence[str],
        seed: int | None,
        placement: Placement | None = None,
        resumption: Resumption | None = None,
    ) -> None:
        self._changes = changes
        self._placement = placement
        known = resumption is not None and resumption.begun and path is None and seed is None
        self._resumed = resumption.state if resumption and known else None
        source = self._read(path)
        self._source = source if path else None
        self._given = source.data
        # Nobody asked for a particular run, so each session shows others.
        self._draw_seed = seed if seed is not None else int.from_bytes(os.urandom(4), "little")

    def config(self, number: int) -> RunConfig:
        """The config of run ``number``. Raises ConfigError, also when its model does not fit its GPUs."""
        source = self._source or self._again(number) or self._drawn(number)
        return source.resolve(number, check=lambda config: misfit(Plan(config, number)))

    @property
    def drawn(self) -> bool:
        """Whether each run has a config of its own."""
        return self._source is None

    def _again(self, number: int) -> ConfigSource | None:
        """The config that a run had which goes on, if nobody says which."""
        state = self._resumed
        if state is None or state.run != number:
            return None
        return ConfigSource.read(None, self._changes, base=state.config)

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
    resumption: Resumption | None = None
    ascii_only: bool = False
    progress: bool = True
    job: Job | None = None
    """The processes that play one rank each; this one is rank 0."""
    recording: Recording | None = None
    """Takes the place of standard output."""


def play(train: Callable[[RunConfig], None], score: Score, options: Options) -> int:
    """Play all runs. Returns the exit code: 0, 1 if something can't be written, or 128 + the signal that ended it."""
    _open_output()
    resumption = options.resumption
    number = resumption.state.run if resumption else 1
    first = score.config(number)  # every mistake of the user's is found before anything is shown or written
    if resumption:
        refuse_differences(resumption, first, options.start_time, drawn=score.drawn)
    runs = _number_of_runs(first, options)
    if runs and number > runs:
        print(f"{options.output_dir}: the run is finished, nothing is left to play. --runs {number} plays another.")
        return 0
    if first.log.trackers:
        require_packages(first.log.trackers, options.output_dir)
    session = _session(options)
    publisher = _publisher(session) if first.run.publish and not options.recording else None
    if first.log.trackers:
        session.trackers = open_trackers(
            first.log, options.output_dir, session.interrupts, lambda: session.look() if session.look else None
        )
    tracker = _tracker(options, first)
    session.run_number = number
    handler = ScreenHandler(session)
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.INFO)
    session.metrics = tracker
    kept: list[Keeper] = [*([tracker] if tracker else []), *session.trackers]
    session.observers += kept
    session.enter()
    try:
        with session.interrupts:
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
        if publisher:
            publisher.close()
        with suppress(OutputError):  # said already, or the output is closed
            _close(kept)


def _close(kept: Sequence[Keeper]) -> None:
    for each in kept:
        each.close()


def record(
    train: Callable[[RunConfig], None], score: Score, options: Options, path: Path, size: tuple[int, int]
) -> int:
    """Play all runs into a recording at ``path``. Returns the exit code; only with 0 there is one."""
    from accelerate_sim.recording import Recording, RecordingFailed

    if options.job:
        way_out = "Record with python train.py, or record the launcher's terminal with asciinema."
        raise ConfigError([Problem("--record", None, "", str(path), "can't hold what other processes print", way_out)])
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
    if options.resumption:
        start = datetime.fromisoformat(options.resumption.state.start_time)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    session = Session(
        screen=Screen(without_blocking(1), live=live, terminal=terminal_behind_launcher(), encoding=encoding),
        clock=Clock(start, wait=interrupts.wait, monotonic=interrupts.awake_s),
        style=style,
        interrupts=interrupts,
        progress=options.progress,
        output_dir=options.output_dir,
        job=options.job,
    )
    session.resumption = options.resumption
    return session


def _recorded_session(options: Options, recording: Recording) -> Session:
    start = options.start_time or datetime.now().replace(microsecond=0)
    recording.begin(start, f"{Path(sys.argv[0]).name} (simulated)")
    style = Style(color=not os.environ.get("NO_COLOR"), ascii=options.ascii_only)
    make = partial(Session, progress=options.progress, output_dir=options.output_dir)
    return recording.session(start, style, duration_s=options.duration_s, make=make)


def _play_until_told(
    train: Callable[[RunConfig], None], score: Score, session: Session, first: RunConfig, options: Options
) -> int:
    try:
        try:
            _play_runs(train, score, session, first, options)
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
            session.interrupts.wait(READING_S - PAUSE_S / session.clock.speed)
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
        logger.warning("Checkpoint %s", sentence)
    logger.info("Going on from %s", resumption.checkpoint or f"the beginning of run {state.run}")


def _announce(session: Session, plan: Plan) -> None:
    """The first line, at once: whatever is still to be imported comes after it."""
    layout = plan.layout
    session.world_size = layout.world_size
    name = f"Run {plan.number}: {Path(sys.argv[0]).name}"
    size = f"{layout.nodes:,} nodes x {layout.gpus_per_node} GPUs"
    logger.info("%s on %s = %s ranks | seed %d", name, size, f"{layout.world_size:,}", plan.seed)
    if session.placement and session.placement.attempt:
        logger.info("Attempt %d: the launcher has restarted the job", session.placement.attempt + 1)
    session.flush()


def _give_cue(session: Session, job: Job, config: RunConfig, *, is_last: bool) -> None:
    """Let the other processes begin the same run."""
    clock = session.clock
    cue = Cue(config.model_dump(mode="json"), session.run_number, clock.start, clock.now_s, session.resumption, is_last)
    with session.interrupts.at_once():
        job.give(cue)


def _say_where(session: Session, reason: str, saved: str | None = None) -> None:
    """The last line: where the run stood when it ended early."""
    screen = session.screen
    screen.close()
    what = f"{reason.capitalize()}: {session.where()}" + (f" | {saved}" if saved else "")
    screen.write(fold(what, screen.width))
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


def _tracker(options: Options, config: RunConfig) -> JsonlTracker | None:
    directory, resumption = options.output_dir, options.resumption
    if directory is None:
        return None
    from accelerate_sim.run_directory import holds_run
    from accelerate_sim.tracking.jsonl import JsonlTracker

    every_gpu = config.log.gpu_detail == "full"
    try:
        if resumption:
            return JsonlTracker(directory, every_gpu=every_gpu, keep_bytes=resumption.prepare(directory))
        directory.mkdir(parents=True, exist_ok=True)
        if holds_run(directory):
            raise FileExistsError
        return JsonlTracker(directory, every_gpu=every_gpu)
    except FileExistsError:
        reason, way_out = "holds another run", "Go on with it with --resume auto, or name another directory."
    except OSError as error:
        reason, way_out = f"can't be written: {error.strerror}", "Name a directory that you may write to."
    raise ConfigError([Problem("--output-dir", None, "", str(directory), reason, way_out)])
