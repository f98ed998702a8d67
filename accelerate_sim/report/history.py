"""``RunHistory``: all that a run has reported, as arrays for pictures.

It is read from the events of metrics.jsonl, and of faults.jsonl where a run has played faults.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from accelerate_sim.config.schema import RunConfig
from accelerate_sim.sim.plan import Plan
from accelerate_sim.sim.run import Run

if TYPE_CHECKING:
    from numpy.typing import NDArray

Event = Mapping[str, Any]
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][-+]?\d+)?")
METRICS, FAULTS = "metrics.jsonl", "faults.jsonl"


class TimeUnit(NamedTuple):
    """The unit of the time axes of a page."""

    name: str
    per_hour: float

    @classmethod
    def of(cls, hours: float) -> TimeUnit:
        """The unit in which a span of time is a number of one to three digits."""
        units = (cls("seconds", 3600.0), cls("minutes", 60.0), cls("hours", 1.0))
        return next((unit for unit in units if hours * unit.per_hour <= 200.0), cls("days", 1.0 / 24.0))


class NoHistory(Exception):
    """Raised for a directory that holds no run; the message says what is missing and what to do."""


@dataclass
class RunHistory:
    """The events of one run by kind, in the order in which they were reported."""

    start: Event
    """The config, the plan and the start time of the run."""
    steps: list[Event] = field(default_factory=list)
    validations: list[Event] = field(default_factory=list)
    looks: list[Event] = field(default_factory=list)
    """States of all GPUs."""
    checkpoints: list[Event] = field(default_factory=list)
    warnings: list[Event] = field(default_factory=list)
    summary: Event | None = None
    """None for a run that has not ended."""
    faults: list[Event] = field(default_factory=list)
    """Transitions of the faults that the run has played."""

    def figures(self, name: str) -> NDArray[np.float64]:
        """One figure of every step: [steps], in the order of time; NaN where a step has none."""
        return np.array([step.get(name, np.nan) for step in self.steps], float)

    @cached_property
    def elapsed_h(self) -> NDArray[np.float64]:
        """Hours since the first step began, at the end of each step: [steps]."""
        return self.figures("elapsed_s") / 3600.0

    @cached_property
    def attempts(self) -> NDArray[np.int64]:
        """Number of the attempt, from 0, in which each step was made: [steps]."""
        return np.array([step.get("attempt", 0) for step in self.steps], int)

    @cached_property
    def run(self) -> Run:
        """The simulation that these events come from."""
        config = RunConfig.model_validate(self.start["config"])
        return Run.of(Plan(config, int(self.start["run"])))

    @cached_property
    def unit(self) -> TimeUnit:
        """The unit of all time axes."""
        looks_h = (float(look["elapsed_s"]) / 3600.0 for look in self.looks)
        return TimeUnit.of(max([0.0, *self.elapsed_h[-1:].tolist(), *looks_h]))

    @property
    def time_label(self) -> str:
        return f"{self.unit.name} since the first step began"

    @cached_property
    def spans_h(self) -> NDArray[np.float64]:
        """Begin and end of the steps of each attempt that made any, in hours: [attempts, 2]."""
        begin_h = self.elapsed_h - self.figures("step_time_s") / 3600.0
        of = [np.flatnonzero(self.attempts == attempt) for attempt in np.unique(self.attempts)]
        return np.array([(begin_h[made[0]], self.elapsed_h[made[-1]]) for made in of])

    def line(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values of every step as the points of a line that is interrupted where a new attempt begins."""
        return np.insert(values, np.flatnonzero(np.diff(self.attempts)) + 1, np.nan)

    def hours_of(self, step: int, attempt: int | None = None) -> float:
        """Hours at which a step was made, in this attempt or for the first time; NaN if it never was."""
        made = self.figures("step") == step
        in_attempt = made & (self.attempts == attempt)
        found = np.flatnonzero(in_attempt if in_attempt.any() else made)
        return float(self.elapsed_h[found[0]]) if len(found) else float("nan")


_KINDS = {
    "step": "steps", "eval": "validations", "gpu": "looks", "checkpoint": "checkpoints", "warning": "warnings",
}  # fmt: skip


def histories(events: Iterable[Event]) -> list[RunHistory]:
    """The runs among these events, in order. Events before the first start of a run are left out."""
    found: list[RunHistory] = []
    for event in events:
        kind = event.get("event")
        if kind == "start":
            found.append(RunHistory(event))
        elif not found:
            continue
        elif kind == "summary":
            found[-1].summary = event
        elif kind in _KINDS:
            getattr(found[-1], _KINDS[kind]).append(event)
    return found


def read_history(directory: Path, number: int | None = None) -> RunHistory:
    """The run ``number`` of an output directory, finished or not. Raises NoHistory.

    None: the last one that has made a step, or the last one of those that have made none.
    """
    found = {int(each.start["run"]): each for each in histories(_events(directory / METRICS))}
    if not found:
        raise NoHistory(f"{directory / METRICS} holds no run that has begun")
    if number is not None and number not in found:
        raise NoHistory(f"{directory / METRICS} holds no run {number}; it has {', '.join(map(str, sorted(found)))}")
    with_steps = [each for each, history in found.items() if history.steps]
    history = found[max(with_steps or found) if number is None else number]
    if (directory / FAULTS).exists():
        faults = (event for event in _events(directory / FAULTS) if event.get("event") == "fault")
        history.faults = [event for event in faults if event.get("run", 1) == history.start["run"]]
    return history


def _events(path: Path) -> list[Event]:
    """The whole lines of a JSON Lines file; a run that goes on may be in the middle of the last one."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise NoHistory(f"{path} can't be read: {error.strerror}") from None
    lines = data[: data.rfind(b"\n") + 1].splitlines()
    try:
        return [_with_numbers(json.loads(line)) for line in lines if line]
    except ValueError as error:
        raise NoHistory(f"{path} is damaged: {error}") from None


def _with_numbers(event: dict[str, Any]) -> Event:
    """The event with its figures as numbers, which ``log.json_values: strings`` has written as strings."""
    for name, value in event.items():
        if isinstance(value, str) and _NUMBER.fullmatch(value):
            event[name] = float(value) if set(value) & set(".eE") else int(value)
    return event
