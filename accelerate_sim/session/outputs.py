"""Opens what a session is shown on and kept in: screen or recording, metrics file, the entry for viewers."""

from __future__ import annotations

import os
import sys
import time
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from accelerate_sim.config.problems import ConfigError, Problem, printable
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.display.screen import Screen
from accelerate_sim.display.style import Style
from accelerate_sim.process.clock import Clock
from accelerate_sim.process.placement import terminal_behind_launcher
from accelerate_sim.process.signals import Signals
from accelerate_sim.session.run_source import Options
from accelerate_sim.session.session import Session, terminal_style
from fake_torch_dist.terminal.descriptor import without_blocking

if TYPE_CHECKING:
    from accelerate_sim.monitoring.publisher import Publisher
    from accelerate_sim.session.recording import Recording
    from accelerate_sim.tracking.jsonl import JsonlTracker


def open_output() -> None:
    """Without a standard output (``>&-``) nothing is shown, and no file that is opened later is taken for it."""
    if sys.stdout is None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    else:
        sys.stdout.flush()


def open_session(options: Options) -> Session:
    if options.recording:
        return _recorded_session(options, options.recording)
    live, style = terminal_style(1, ascii_only=options.ascii_only)
    signals = Signals()
    if options.duration_s is not None:
        signals.deadline = time.monotonic() + options.duration_s
    start = options.start_time or datetime.now().replace(microsecond=0)
    if options.resumption:
        start = datetime.fromisoformat(options.resumption.state.start_time)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    session = Session(
        screen=Screen(without_blocking(1), live=live, terminal=terminal_behind_launcher(), encoding=encoding),
        clock=Clock(start, wait=signals.wait, monotonic=signals.awake_s),
        style=style,
        signals=signals,
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


def open_publisher(session: Session) -> Publisher | None:
    """None, and a warning, if another user keeps this one from publishing. ConfigError if it is the user's to mend."""
    from accelerate_sim.monitoring.publisher import Publisher
    from accelerate_sim.process.runtime_directory import UnsafeDirectory

    try:
        return Publisher(session.clock, session.signals)
    except UnsafeDirectory as error:
        if error.foreign:
            place = f"{printable(str(error.path))} {error.reason}, so fake-nvidia-smi will not see this run."
            sys.stderr.write(f"--publish: {place} Point XDG_RUNTIME_DIR at a directory of your own.\n")
            return None
        way_out = "Make it your own with mode 700, or point XDG_RUNTIME_DIR at a directory that is."
        raise ConfigError([Problem("--publish", None, "", str(error.path), error.reason, way_out)]) from None


def open_metrics(options: Options, config: RunConfig) -> JsonlTracker | None:
    """metrics.jsonl below the output directory, which belongs to this process from now on. Raises ConfigError."""
    directory, resumption = options.output_dir, options.resumption
    if directory is None:
        return None
    from accelerate_sim.checkpoints import output_directory
    from accelerate_sim.tracking.jsonl import JsonlTracker

    every_gpu = config.log.gpu_detail == "full"
    with output_directory.refused(directory):
        output_directory.make_and_own(directory, launched=options.job is not None)
        if resumption:
            return JsonlTracker(directory, every_gpu=every_gpu, keep=resumption.prepare(directory))
        output_directory.require_empty(directory)
        return JsonlTracker(directory, every_gpu=every_gpu)
