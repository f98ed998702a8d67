"""Writes reports: of a directory, of a plan, and of a session that is just running."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate_sim.artifacts.atomic import explained, write_file
from accelerate_sim.config.problems import ConfigError, Problem, printable
from accelerate_sim.records import AttemptRecord, Record, StartRecord
from accelerate_sim.tracking.json_events import json_event

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


def write_run_report(path: Path, history: RunHistory, usd_per_gpu_hour: float | None = None) -> None:
    """Write the report of a run that has made at least one step. Raises OutputError, ValueError."""
    from accelerate_sim.report.page import USD_PER_GPU_HOUR, run_page

    price = USD_PER_GPU_HOUR if usd_per_gpu_hour is None else usd_per_gpu_hour
    _write(path, run_page(history, price))


def write_plan_report(path: Path, plan: Plan) -> None:
    """Write the report of a plan alone. Raises OutputError."""
    from accelerate_sim.report.page import plan_page
    from accelerate_sim.sim.run import Run

    _write(path, plan_page(Run.of(plan)))


def _write(path: Path, page: str) -> None:
    with explained(path, _INTACT):
        write_file(path, page.encode())


class ReportKeeper:
    """Collects what a session's runs report, and writes the report of the last one when the session ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._events: list[dict[str, Any]] = []
        self._attempt = 0

    def observe(self, record: Record) -> None:
        if isinstance(record, StartRecord):  # a session may play runs for ever; only the last one is reported
            self._events, self._attempt = [], 0
        elif isinstance(record, AttemptRecord):
            self._attempt += 1
        event = json_event(record, attempt=self._attempt or None)
        if event is None:
            return
        self._events.append(event)

    def flush(self) -> None: ...

    def close(self) -> None:
        """Write the report; nothing for a session that has made no step. Raises OutputError."""
        from accelerate_sim.report.history import histories

        found, self._events = histories(self._events), []
        if found and found[-1].steps:
            write_run_report(self.path, found[-1])
