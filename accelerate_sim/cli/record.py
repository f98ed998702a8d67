"""``--record``: run a whole session into a file, in place of the terminal."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from accelerate_sim.config.problems import ConfigError, Problem
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.session.options import SessionOptions
from accelerate_sim.session.run_source import RunSource
from accelerate_sim.session.runner import run_session


def record(
    train: Callable[[RunConfig], None], source: RunSource, options: SessionOptions, path: Path, size: tuple[int, int]
) -> int:
    """Record all runs at ``path``. Returns the exit code; the file is there only if it is 0."""
    from accelerate_sim.session.recording import Recording, RecordingFailed

    if options.coordination:
        way_out = "Record with python train.py, or record the launcher's terminal with asciinema."
        raise ConfigError([Problem("--record", None, "", str(path), "can't hold what other processes print", way_out)])
    _refuse_endless(source.plan(1).config, options)
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
            code = run_session(train, source, replace(options, recording=recording))
            if code == 0:
                recording.keep()
        except RecordingFailed as error:
            print(error, file=sys.stderr)
            return 1
    print(recording.summary() if code == 0 else f"--record: ended early, {path} has not been written", flush=True)
    return code


def _refuse_endless(first: RunConfig, options: SessionOptions) -> None:
    """Raise ConfigError for a session that has no pace or no end."""
    if math.inf in (first.run.speed, first.run.startup_speed):
        way_out = "Say how many simulated seconds a recorded one holds, e.g. --record-pace 250."
        raise ConfigError([Problem("--record", None, "run.speed", "max", "leaves no time to see anything", way_out)])
    if first.run.runs == 0 and options.duration_s is None:
        way_out = "Give --runs or --duration."
        raise ConfigError([Problem("--record", None, "run.runs", "0", "never ends", way_out)])
