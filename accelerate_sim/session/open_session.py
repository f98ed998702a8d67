"""Opens the screen or the recording of a session, its metrics file and its trackers."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from accelerate_sim.config.problems import ConfigError, Problem, printable
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.config.voice_table import voice_choice
from accelerate_sim.display.cell_output import CELL_FRAME_S, CellCanvas, notebook_shell, replaced_stdout
from accelerate_sim.display.screen import Screen
from accelerate_sim.display.style import Style
from accelerate_sim.process.clock import Clock
from accelerate_sim.process.placement import terminal_behind_launcher
from accelerate_sim.process.signals import Signals
from accelerate_sim.session.options import SessionOptions
from accelerate_sim.session.session import Session
from accelerate_sim.session.terminal import terminal_style
from accelerate_sim.tracking.outputs import Outputs
from fake_torch_dist.terminal.descriptor import without_blocking

if TYPE_CHECKING:
    from accelerate_sim.monitoring.publisher import Publisher
    from accelerate_sim.session.recorded_terminal import RecordedTerminal
    from accelerate_sim.tracking.jsonl import JsonlTracker
    from accelerate_sim.tracking.tracker import Tracker, TrackerContext


def open_stdout() -> None:
    """Open /dev/null as standard output if that is closed, so that no file opened later takes its number."""
    if sys.stdout is None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    else:
        sys.stdout.flush()


def open_session(options: SessionOptions) -> Session:
    """The session of a process that reads the command line."""
    session = _recorded_session(options, options.recording) if options.recording else _session_here(options)
    if options.generic_names:
        from accelerate_sim.display.generic_names import GenericNames

        session.screen.rename_by(GenericNames())
    if options.explain:
        from accelerate_sim.voices.explanations import Explainer

        session.console.explain_by(Explainer(session.style))
    if options.dashboard:
        _open_dashboard(session, options.recording)
    if options.fast_forward:
        options.fast_forward.begin(session)
    return session


def _open_dashboard(session: Session, recording: RecordedTerminal | None) -> None:
    from accelerate_sim.session.dashboard import open_dashboard

    if not session.screen.live or terminal_behind_launcher() is not None:
        reason = "standard output is no terminal of this process's own"
        raise ConfigError([Problem("--dashboard", None, "", None, reason, "Leave it out, or record it with --record.")])
    canvas = open_dashboard(session, recording.beginning.dashboard if recording else None)
    if session.keys:
        session.keys.add("t", "GPUs by", canvas.next_figure)


def _session_here(options: SessionOptions) -> Session:
    """The session on standard output."""
    live, style = terminal_style(1, ascii_only=options.ascii_only)
    in_cell = notebook_shell() is not None
    if in_cell:
        style = Style(color=False, ascii=options.ascii_only)
    deadline = None if options.duration_s is None else time.monotonic() + options.duration_s
    signals = Signals(deadline=deadline)
    start = options.start_time or datetime.now().replace(microsecond=0)
    if options.resumption:
        start = datetime.fromisoformat(options.resumption.state.start_time)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    screen = Screen(
        without_blocking(1), live=live or in_cell, terminal=terminal_behind_launcher(), encoding=encoding,
        on_blocked=signals.end_if_told, replaced=replaced_stdout,
    )  # fmt: skip
    if in_cell:
        screen.use(CellCanvas(), CELL_FRAME_S)
    session = Session(
        screen=screen,
        clock=Clock(start, wait=signals.wait, monotonic=signals.awake_s),
        style=style,
        signals=signals,
        progress=options.progress,
        outputs=Outputs(options.output_dir),
        coordination=options.coordination,
    )
    if live:
        _steered(session, options)
    return session


def _steered(session: Session, options: SessionOptions) -> None:
    """Let keys and other controls steer a session on a terminal."""
    from accelerate_sim.session.keys import Keys, key_source
    from accelerate_sim.session.steering import Steering

    steering = Steering(session)
    session.outputs.add_observer(steering)
    if options.keys and (source := key_source()):
        session.steer_with(Keys(session, steering, source))


def _recorded_session(options: SessionOptions, recording: RecordedTerminal) -> Session:
    start = options.start_time or datetime.now().replace(microsecond=0)
    recording.begin(start, f"{Path(sys.argv[0]).name} (simulated)")
    style = Style(color=not os.environ.get("NO_COLOR"), ascii=options.ascii_only)
    make = partial(Session, progress=options.progress, outputs=Outputs(options.output_dir))
    return recording.session(start, style, duration_s=options.duration_s, make=make)


def open_outputs(session: Session, options: SessionOptions, config: RunConfig) -> None:
    """Open the trackers and the metrics file that the config and the options ask for. Raises ConfigError."""
    trackers: list[Tracker] = []
    if config.run.publish and not options.recording:
        publisher = _open_publisher(session, options)
        trackers += [publisher] if publisher else []
    has_files = options.output_dir is not None and bool(voice_choice(config.log.voice).entry.files)
    if config.log.trackers or has_files:
        from accelerate_sim.tracking.registry import open_framework_files, open_trackers

        context = _tracker_context(session, options, config)
        trackers += open_trackers(context)
        trackers += open_framework_files(context) if has_files else []
    session.outputs.add_keepers(_open_metrics(session, options, config), trackers)
    if options.report:
        from accelerate_sim.report.write import ReportKeeper

        keeper = ReportKeeper(options.report, options.output_dir, session.screen.named)
        session.outputs.add_keeper(keeper)
        if options.output_dir is None:
            session.outputs.give_faults_to(keeper.take_fault)


def _tracker_context(session: Session, options: SessionOptions, config: RunConfig) -> TrackerContext:
    from accelerate_sim.tracking.tracker import TrackerContext

    context = TrackerContext(
        config.log, options.output_dir, session.signals, session.read_gpus, session.report, session.clock.time
    )
    if "prometheus" not in config.log.trackers:
        return context
    from accelerate_sim.session.health import ailment
    from accelerate_sim.session.node_exporters import served_ranks

    session.serve_while_waiting()
    ranks = served_ranks(config.log, session.placement)
    return replace(context, served_ranks=ranks, ailment=lambda: ailment(session))


def _open_publisher(session: Session, options: SessionOptions) -> Publisher | None:
    """The publisher; None, after a warning, if another user prevents it. ConfigError if this user can mend it."""
    from accelerate_sim.monitoring.publisher import Publisher
    from accelerate_sim.process.runtime_directory import UnsafeDirectory

    try:
        return Publisher(session.clock, session.signals, generic_names=options.generic_names)
    except UnsafeDirectory as error:
        if error.foreign:
            place = f"{printable(str(error.path))} {error.reason}, so fake-nvidia-smi will not see this run."
            sys.stderr.write(f"--publish: {place} Point XDG_RUNTIME_DIR at a directory of your own.\n")
            return None
        way_out = "Make it your own with mode 700, or point XDG_RUNTIME_DIR at a directory that is."
        raise ConfigError([Problem("--publish", None, "", str(error.path), error.reason, way_out)]) from None


def _open_metrics(session: Session, options: SessionOptions, config: RunConfig) -> JsonlTracker | None:
    """The tracker of metrics.jsonl; locks the output directory until the process ends. Raises ConfigError."""
    directory, resumption = options.output_dir, options.resumption
    if directory is None:
        return None
    from accelerate_sim.checkpoints import output_directory
    from accelerate_sim.tracking.fault_count import begin_truth
    from accelerate_sim.tracking.jsonl import JsonlTracker

    open_tracker = partial(
        JsonlTracker, directory, session.clock.time,
        every_gpu=config.log.gpu_detail == "full", strings=config.log.json_values == "strings",
    )  # fmt: skip
    with output_directory.refused(directory):
        output_directory.make_and_own(directory, launched=options.coordination is not None)
        if resumption:
            return open_tracker(keep=resumption.prepare(directory))
        output_directory.require_empty(directory)
        begin_truth(directory, plays=config.faults.happen)
        return open_tracker()
