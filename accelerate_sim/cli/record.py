"""``--record``: a whole session into a file, in place of a terminal."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from accelerate_sim.config.problems import ConfigError, Problem
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.session.run_source import Options, Score
from accelerate_sim.session.runner import play


def record(
    train: Callable[[RunConfig], None], score: Score, options: Options, path: Path, size: tuple[int, int]
) -> int:
    """Play all runs into a recording at ``path``. Returns the exit code; only with 0 there is one."""
    from accelerate_sim.session.recording import Recording, RecordingFailed

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
