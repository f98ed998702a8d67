"""``--resume``: which checkpoint a run goes on from, and whether it is the same run.

``auto`` takes the newest checkpoint that is whole, says which ones are not, and begins a run that has none. A path
takes that checkpoint and no other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from accelerate_sim.artifacts.atomic import remove_unfinished, write_file
from accelerate_sim.artifacts.manifest import Damaged
from accelerate_sim.config.problems import ConfigError, Problem, printable, shown
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.run_directory import (
    RunDirectory,
    begin_of_run,
    checkpoint_step,
    latest_run,
    path_of_run,
    state_of_checkpoint,
)
from accelerate_sim.run_state import RunState

OPTION = "--resume"
AUTO = "auto"
HARMLESS = (
    "run.speed", "run.startup_speed", "run.runs", "log", "train.max_steps", "checkpoint.keep_last",
    "checkpoint.keep_best", "checkpoint.shards", "checkpoint.on_preempt",
)  # fmt: skip
"""Keys, or whole sections, that no figure of a step depends on."""


@dataclass(frozen=True)
class Resumption:
    """What a session goes on with."""

    output_dir: Path
    state: RunState
    checkpoint: Path | None
    """None: the run goes on from its beginning."""
    damaged: tuple[str, ...] = ()
    """Sentences about checkpoints that were passed over."""
    metrics_from: Path | None = None
    """A metrics.jsonl of another directory, whose beginning belongs to the run."""
    begun: bool = True
    """False for a run that comes after a finished one."""

    @property
    def source(self) -> Path:
        """What the state was read from."""
        last = self.state.run if self.begun else self.state.run - 1
        return self.checkpoint or path_of_run(self.output_dir, last) / "run.json"

    def prepare(self, output_dir: Path) -> int:
        """Clear away what a process that died has left; the bytes of metrics.jsonl that are kept. Raises OSError."""
        directory = path_of_run(output_dir, self.state.run)
        directory.mkdir(parents=True, exist_ok=True)
        remove_unfinished(directory)
        if self.metrics_from:
            beginning = self.metrics_from.read_bytes()[: self.state.metrics_bytes]
            write_file(output_dir / "metrics.jsonl", beginning)
        return self.state.metrics_bytes


def find(asked: str, output_dir: Path | None) -> Resumption | None:
    """What ``--resume asked`` means; None when nothing has been begun. Raises ConfigError."""
    if asked == AUTO:
        if output_dir is None:
            raise _problem(asked, "needs to know where the checkpoints are", "Name it with --output-dir.")
        return _newest(output_dir)
    return _named(Path(asked), output_dir)


def _named(path: Path, output_dir: Path | None) -> Resumption:
    try:
        if checkpoint_step(path) is None:
            raise Damaged("is no checkpoint: those are called checkpoint-<step>")
        if not path.is_dir():
            raise Damaged("does not exist" if not path.exists() else "is no directory")
        state = state_of_checkpoint(path)
        home = path.parent if state.run == 1 else path.parent.parent
        _require_metrics(home / "metrics.jsonl", state)
    except Damaged as damage:
        way_out = "Name a checkpoint, or use --resume auto, which takes the newest that is whole."
        raise _problem(str(path), str(damage), way_out) from None
    if output_dir is None or _same(output_dir, home):
        return Resumption(output_dir or home, state, path)
    if latest_run(output_dir) is not None:
        way_out = "Name the directory that the checkpoint is in, or an empty one."
        raise _problem(str(path), f"is not of the run in {printable(str(output_dir))}", way_out)
    return Resumption(output_dir, state, path, metrics_from=home / "metrics.jsonl")


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


def _newest(output_dir: Path) -> Resumption | None:
    number = latest_run(output_dir)
    if number is None:
        return None
    directory = path_of_run(output_dir, number)
    try:
        begun, end = begin_of_run(directory)
    except Damaged as damage:
        raise _problem(AUTO, f"finds that {printable(str(directory))} {damage}", "Name a checkpoint.") from None
    if end is not None:
        clock_s, metrics_bytes = float(end["clock_s"]), int(end["metrics_bytes"])
        following = replace(begun, run=number + 1, step=0, clock_s=clock_s, metrics_bytes=metrics_bytes)
        return Resumption(output_dir, following, None, begun=False)
    damaged: list[str] = []
    for path in RunDirectory(directory).checkpoints():
        try:
            state = state_of_checkpoint(path)
            _require_metrics(output_dir / "metrics.jsonl", state)
            return Resumption(output_dir, state, path, tuple(damaged))
        except Damaged as damage:
            damaged.append(f"{path} {damage}")
    return Resumption(output_dir, begun, None, tuple(damaged))


def _require_metrics(path: Path, state: RunState) -> None:
    """Raise Damaged when what was reported before ``state`` is lost."""
    found = path.stat().st_size if path.exists() else 0
    if found < state.metrics_bytes:
        raise Damaged(f"counts {state.metrics_bytes:,} bytes of {path.name}, which has {found:,}")


def refuse_differences(resumption: Resumption, config: RunConfig, start_time: datetime | None, *, drawn: bool) -> None:
    """Raise ConfigError with every key that makes another run of it, and when there is no step left.

    ``drawn``: each run has a config of its own, so one that has not begun can't differ.
    """
    was, now = resumption.state.config, config.model_dump(mode="json")
    problems = [
        Problem.about(
            key, shown(value), f"is not what {resumption.source} was made with, {shown(other)}",
            "Give the same value, or begin another run in another --output-dir.",
        )
        for key, value, other in (_differences(was, now) if resumption.begun or not drawn else ())
    ]  # fmt: skip
    begun = datetime.fromisoformat(resumption.state.start_time)
    if start_time is not None and start_time != begun:
        given = start_time.isoformat()
        reason = f"is not when the run in {resumption.source} began, {begun.isoformat()}"
        problems.append(Problem("--start-time", None, "", given, reason, "Leave it out, or give the same."))
    last = min(config.train.epochs * config.train.steps_per_epoch, config.train.max_steps or 10**18)
    if not problems and resumption.state.step > last:
        reason = f"is before step {resumption.state.step:,} of {resumption.source}"
        problems.append(Problem.about("train.max_steps", str(last), reason, "Give more steps, or an older checkpoint."))
    if problems:
        raise ConfigError(problems)


def _differences(was: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(key, value now, value then), but for those that are harmless."""
    for name in dict.fromkeys((*now, *was)):
        key, value, other = prefix + name, now.get(name), was.get(name)
        if key in HARMLESS or value == other:
            continue
        if isinstance(value, Mapping) and isinstance(other, Mapping) and key != "model":
            yield from _differences(other, value, f"{key}.")
        else:
            yield key, value, other


def _problem(value: str, reason: str, way_out: str) -> ConfigError:
    return ConfigError([Problem(OPTION, None, "", printable(value), reason, way_out)])
