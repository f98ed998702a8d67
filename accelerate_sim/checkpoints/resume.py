"""``--resume``: finds the checkpoint to resume.

``auto`` takes the newest complete checkpoint, reports damaged ones, and begins a run that has none. A path takes that
checkpoint and no other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from accelerate_sim.artifacts.atomic import make_directory, remove_unfinished, write_file
from accelerate_sim.artifacts.damage import Damaged
from accelerate_sim.artifacts.plain_file import read
from accelerate_sim.checkpoints import attempt_file, run_file
from accelerate_sim.checkpoints.attempt_file import SavedAttemptEnd
from accelerate_sim.checkpoints.directory import (
    METRICS,
    RunDirectory,
    checkpoint_step,
    in_the_way,
    latest_run,
    path_of_run,
    run_directories,
    state_of_checkpoint,
)
from accelerate_sim.checkpoints.metrics_length import require_beginning
from accelerate_sim.checkpoints.output_directory import own_if_there
from accelerate_sim.checkpoints.state import MetricsLength, RunState
from accelerate_sim.config.problems import ConfigError, Problem, printable, shown

OPTION = "--resume"
AUTO = "auto"


@dataclass(frozen=True)
class Resumption:
    """The state that a session continues from."""

    output_dir: Path
    state: RunState
    checkpoint: Path | None
    """The checkpoint; None: the run continues from its beginning."""
    damaged: tuple[str, ...] = ()
    """Sentences about checkpoints that were skipped."""
    metrics_from: Path | None = None
    """The metrics.jsonl of another directory, whose beginning belongs to the run."""
    begun: bool = True
    """False for a new run after a finished one."""
    ended: SavedAttemptEnd | None = None
    """The end of the attempt before, if a fault of the config ended it."""

    @property
    def attempt(self) -> int:
        """Number of the attempt that goes on or begins, from 0, in a run in which faults happen."""
        return self.ended.attempt + 1 if self.ended else self.state.attempt

    @property
    def metrics(self) -> MetricsLength:
        """The part of metrics.jsonl that stays."""
        return self.ended.metrics if self.ended else self.state.metrics

    @property
    def source(self) -> Path:
        """The file or directory from which the state was read."""
        last = self.state.run if self.begun else self.state.run - 1
        return self.checkpoint or path_of_run(self.output_dir, last) / run_file.NAME

    def prepare(self, output_dir: Path) -> tuple[int, int]:
        """Remove unfinished files; returns length and checksum of what stays of metrics.jsonl. OSError, ConfigError."""
        state, kept = self.state, self.metrics
        source = self.metrics_from or output_dir / METRICS
        try:
            require_beginning(source, kept)
        except Damaged as damage:
            raise _problem(AUTO, f"finds that {printable(str(output_dir))} is damaged: {damage}", _ANOTHER) from None
        directory = path_of_run(output_dir, state.run)
        make_directory(directory, output_dir)
        tidy(output_dir)
        if self.metrics_from or not kept.size_bytes:
            begun = read(source, kept.size_bytes) if kept.size_bytes else b""
            if not (output_dir / METRICS).is_file():  # a pipe of this name was called damaged, and is in the way
                (output_dir / METRICS).unlink(missing_ok=True)
            write_file(output_dir / METRICS, begun)
        if self.begun and not (directory / run_file.NAME).exists():
            run_file.write(directory, state.beginning())
        return kept


def find(asked: str, output_dir: Path | None) -> Resumption | None:
    """The state that ``--resume asked`` stands for; None if no run has begun. Raises ConfigError."""
    try:
        if asked != AUTO:
            return _named(Path(asked), output_dir)
        if output_dir is None:
            raise _problem(asked, "needs to know where the checkpoints are", "Name it with --output-dir.")
        return _newest(output_dir)
    except OSError as error:
        reason = f"can't be looked for: {printable(str(error.filename))}: {error.strerror}"
        raise _problem(asked, reason, "Name a directory that you may read.") from None


def find_and_own(asked: str, output_dir: Path | None, *, launched: bool) -> Resumption | None:
    """Find the state, and lock its output directory first, so that no other process changes it. Raises ConfigError.

    ``launched``: a launcher has started this process.
    """
    if output_dir is None:
        found = find(asked, None)
        output_dir = found.output_dir if found else None
    if output_dir is not None:
        own_if_there(output_dir, launched=launched)
    return find(asked, output_dir)


def tidy(output_dir: Path) -> None:
    """Remove unfinished files and directories of processes that were killed."""
    for directory in run_directories(output_dir).values():
        remove_unfinished(directory)


_ANOTHER = "Begin another run in another --output-dir."


def _named(path: Path, output_dir: Path | None) -> Resumption:
    way_out = "Name a checkpoint, or use --resume auto, which takes the newest that is whole."
    if checkpoint_step(path) is None:
        raise _problem(str(path), "is no checkpoint: those are called checkpoint-<step>", way_out)
    if not path.is_dir():
        raise _problem(str(path), "is no directory" if path.exists() else "does not exist", way_out)
    try:
        state = state_of_checkpoint(path)
        home = _home(path, state)
        if begun := _begun(path.parent):
            _require_same_run(state, begun)
        require_beginning(home / METRICS, state.metrics)
    except Damaged as damage:
        raise _problem(str(path), f"is damaged: it {damage}", way_out) from None
    if output_dir is None or _same(output_dir, home):
        return Resumption(output_dir or home, state, path)
    if latest_run(output_dir) is not None or in_the_way(output_dir):
        way_out = "Name the directory that the checkpoint is in, or an empty one."
        raise _problem(str(path), f"is not of the run in {printable(str(output_dir))}", way_out)
    return Resumption(output_dir, state, path, metrics_from=home / METRICS)


def _home(path: Path, state: RunState) -> Path:
    """The output directory of the session that a checkpoint belongs to; raises Damaged if it lies elsewhere."""
    directory = path.absolute().parent
    if state.run == 1:
        return path.parent
    if directory.name != path_of_run(Path(), state.run).name:
        raise Damaged(f"is of run {state.run}, and lies in {printable(directory.name)!r}")
    return path.parent.parent if path.parent.name else directory.parent


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


def _newest(output_dir: Path) -> Resumption | None:
    number = latest_run(output_dir)
    if number is None:
        return None
    directory = path_of_run(output_dir, number)
    checkpoints = RunDirectory(directory).checkpoints()
    try:
        begun, end = run_file.read(directory)
        if begun.run != number:
            raise Damaged(f"has a {run_file.NAME} of run {begun.run}")
    except Damaged as damage:
        way_out = f"Name a checkpoint, such as --resume {printable(str(checkpoints[0]))}." if checkpoints else _ANOTHER
        raise _problem(AUTO, f"finds that {printable(str(directory))} is damaged: it {damage}", way_out) from None
    if end is not None:
        following = replace(
            begun, run=number + 1, clock_s=end.clock_s, metrics_bytes=end.metrics_bytes,
            metrics_crc32=end.metrics_crc32,
        )  # fmt: skip
        return Resumption(output_dir, following, None, begun=False)
    ended = _ended(directory, begun, output_dir)
    damaged: list[str] = []
    for path in checkpoints:
        judgement = "is damaged: it "
        try:
            state = state_of_checkpoint(path)
            _require_same_run(state, begun)
            if ended and state.attempt <= ended.attempt:
                if state.step > ended.step:  # the attempt came further, but what it goes on from is decided
                    continue
                return Resumption(
                    output_dir, state, path, tuple(damaged), ended=ended if state.step == ended.step else None
                )
            judgement = ""  # the checkpoint itself is complete
            require_beginning(output_dir / METRICS, state.metrics)
            return Resumption(output_dir, state, path, tuple(damaged))
        except Damaged as damage:
            damaged.append(f"{printable(str(path))} {judgement}{damage}")
    return Resumption(output_dir, begun, None, tuple(damaged), ended=ended if ended and not ended.step else None)


def _ended(directory: Path, begun: RunState, output_dir: Path) -> SavedAttemptEnd | None:
    """The end of the latest attempt that a fault ended, if it is of this run and metrics.jsonl still has its lines."""
    try:
        ended = attempt_file.read(directory)
        if ended and (ended.run, ended.start_time, ended.origin_s) == (begun.run, begun.start_time, begun.origin_s):
            require_beginning(output_dir / METRICS, ended.metrics)
            return ended
    except Damaged:
        pass
    return None


def _begun(directory: Path) -> RunState | None:
    """The beginning of a run in its run.json; None if that is missing or damaged."""
    try:
        return run_file.read(directory)[0]
    except Damaged:
        return None


def _require_same_run(state: RunState, begun: RunState) -> None:
    """Raise Damaged for a checkpoint of another run than the one that has begun in the directory."""
    for name in ("run", "start_time", "origin_s", "begin_bytes", "begin_crc32"):
        was, now = getattr(begun, name), getattr(state, name)
        if was != now:
            raise Damaged(f"is of another run: its {name} is {shown(now)}, and {run_file.NAME} has {shown(was)}")


def _problem(value: str, reason: str, way_out: str) -> ConfigError:
    return ConfigError([Problem(OPTION, None, "", printable(value), reason, way_out)])
