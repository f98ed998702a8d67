"""Writes reports: of a directory, of a plan, and of a session that is just running."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate_sim.artifacts.atomic import explained, write_file
from accelerate_sim.config.problems import ConfigError, Problem, printable
from accelerate_sim.records import AttemptRecord, Record, StartRecord, StepRecord
from accelerate_sim.tracking.json_events import json_event
from fake_torch_dist.terminal.descriptor import write_all

if TYPE_CHECKING:
    from accelerate_sim.report.history import RunHistory
    from accelerate_sim.sim.plan import Plan

OPTION = "--report"
_INTACT = "Nothing else was touched."


def require_drawing(option: str, path: Path) -> None:
    """Check that pictures can be drawn and that ``path`` can be written. Raises ConfigError, which names ``option``."""
    shown = printable(str(path))
    if find_spec("matplotlib") is None:
        way_out = "Install it with: pip install 'fake-torchrun[report]'."
        raise ConfigError([Problem(option, None, "", shown, "needs matplotlib, which is not installed", way_out)])
    if path.is_dir():
        raise ConfigError([Problem(option, None, "", shown, "is a directory", "Name a file, such as report.html.")])
    if not path.absolute().parent.is_dir():
        reason = "can't be written: its directory does not exist"
        raise ConfigError([Problem(option, None, "", shown, reason, "Make the directory, or name another file.")])


def write_run_report(
    path: Path, history: RunHistory, usd_per_gpu_hour: float | None = None, named: Callable[[str], str] = str
) -> None:
    """Write the report of a run that has made at least one step. Raises OutputError, ValueError."""
    from accelerate_sim.report.page import USD_PER_GPU_HOUR, run_page

    price = USD_PER_GPU_HOUR if usd_per_gpu_hour is None else usd_per_gpu_hour
    _write(path, run_page(history, price, named))


def write_plan_report(path: Path, plan: Plan, named: Callable[[str], str] = str) -> None:
    """Write the report of a plan alone; ``named`` gives texts their names. Raises OutputError."""
    from accelerate_sim.report.page import plan_page
    from accelerate_sim.sim.run import Run

    _write(path, plan_page(Run.of(plan), named))


def _write(path: Path, page: str) -> None:
    with explained(path, _INTACT):
        if path.exists() and not path.is_file():  # a pipe or a device, such as /dev/stdout, is written to in place
            with path.open("wb", buffering=0) as file:
                write_all(file.fileno(), page.encode())
        else:
            write_file(path, page.encode())


class ReportKeeper:
    """Writes the report of a session's last run that has made a step, when the session ends.

    With an output directory it is read from its files, which also hold what earlier processes of the run have made.
    Without one the records are collected, and the transitions of faults by ``take_fault``.
    """

    def __init__(self, path: Path, directory: Path | None = None, named: Callable[[str], str] = str) -> None:
        self.path = path
        self._directory = directory
        self._named = named
        self._events: list[dict[str, Any]] = []
        self._faults: list[dict[str, Any]] = []
        self._before: tuple[list[dict[str, Any]], list[dict[str, Any]]] = [], []
        """Events and faults of the run before, until the present one has made a step."""
        self._attempt = 0

    def observe(self, record: Record) -> None:
        if self._directory:
            return
        if isinstance(record, StartRecord):  # a session may play runs for ever; only the last one is reported
            self._before, self._events, self._faults, self._attempt = (self._events, self._faults), [], [], 0
        elif isinstance(record, StepRecord):
            self._before = [], []
        elif isinstance(record, AttemptRecord):
            self._attempt += 1
        event = json_event(record, attempt=self._attempt or None)
        if event is not None:
            self._events.append(event)

    def take_fault(self, fields: Mapping[str, Any]) -> None:
        """Take a transition of a fault, as faults.jsonl would have it."""
        self._faults.append(dict(fields))

    def flush(self) -> None: ...

    def close(self) -> None:
        """Write the report, or why there is none. Raises OutputError."""
        from accelerate_sim.report.history import NoHistory

        try:
            history = self._history()
        except NoHistory as reason:
            sys.stderr.write(f"{OPTION}: {printable(str(self.path))} is not written: {reason}.\n")
            return
        write_run_report(self.path, history, named=self._named)

    def _history(self) -> RunHistory:
        """The run to report. Raises NoHistory."""
        from accelerate_sim.report.history import NoHistory, histories, read_history

        if self._directory:
            history = read_history(self._directory)
            if not history.steps:
                raise NoHistory("no step has been made")
            return history
        events, faults = self._before if self._before[0] else (self._events, self._faults)
        found = histories(events)
        if found and found[-1].steps:
            found[-1].faults = list(faults)
            return found[-1]
        if any(event["event"] == "step" for event in events):
            raise NoHistory("the run began in an earlier process; with --output-dir its beginning is kept")
        raise NoHistory("no step has been made")
