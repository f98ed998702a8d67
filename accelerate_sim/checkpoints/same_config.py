"""Checks that the config of a resumed run is the one that the run began with, as far as its figures depend on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from accelerate_sim.checkpoints.resume import Resumption
from accelerate_sim.config.problems import ConfigError, Problem, shown
from accelerate_sim.config.schema import RunConfig

HARMLESS = (
    "run.speed", "run.startup_speed", "run.runs", "log", "train.max_steps", "checkpoint.keep_last",
    "checkpoint.keep_best", "checkpoint.shards", "checkpoint.on_preempt", "cluster.host",
)  # fmt: skip
"""Keys and sections that may differ on resuming, because no figure of a step depends on them."""


def refuse_differences(resumption: Resumption, config: RunConfig, start_time: datetime | None, *, drawn: bool) -> None:
    """Raise ConfigError with every key that would change the run, or if no step is left.

    ``drawn``: each run draws a config of its own, so a run that has not begun cannot differ.
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
    """(key, value now, value then) of each key that differs and is not harmless."""
    for name in dict.fromkeys((*now, *was)):
        key, value, other = prefix + name, now.get(name), was.get(name)
        if key in HARMLESS or value == other:
            continue
        if isinstance(value, Mapping) and isinstance(other, Mapping) and key != "model":
            yield from _differences(other, value, f"{key}.")
        else:
            yield key, value, other
