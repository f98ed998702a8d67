"""``TruthLog``: faults.jsonl, the ground truth of a run with faults: one JSON object for each change of a fault.

It is derived from the schedule and written by one process, the same lines in every kind of process; only ``wall`` is
the real time. What stands there stands in no other file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate_sim.faults.expectation import expectation, target_of
from accelerate_sim.faults.kinds import KINDS
from accelerate_sim.faults.language import text_of
from accelerate_sim.faults.occurrence import Attempt, Occurrence
from accelerate_sim.tracking.fault_count import FILE_NAME, end_absence

if TYPE_CHECKING:
    from accelerate_sim.faults.fault import Fault
    from accelerate_sim.faults.schedule import FaultSchedule
    from accelerate_sim.process.clock import Clock
    from accelerate_sim.sim.run import Run

SCHEMA = 1
ABSENCE = ("faults", None, None, None, None)
"""Key of the line that the file of a session without faults begins with."""


class TruthLog:
    """Appends to ``directory/faults.jsonl``; what is there already is not written again.

    Without a directory the changes are given to ``take``.
    """

    def __init__(
        self, directory: Path | None, clock: Clock, run: Run, take: Callable[[Mapping[str, Any]], None] | None = None
    ) -> None:
        self._path = directory / FILE_NAME if directory else None
        self._take = take
        self._clock = clock
        self._run = run
        self._schedule: FaultSchedule | None = None
        self._known = _known(self._path) if self._path else set()
        self._origin_s = 0.0
        """Second of the clock at which the first step of the run began."""

    def begin_attempt(self, origin_s: float) -> None:
        """Count the seconds of the run from ``origin_s`` of the clock on."""
        self._origin_s = origin_s

    def planned(self, schedule: FaultSchedule) -> None:
        """Write the faults that the config plans, and with their words those that were asked for later."""
        self._schedule = schedule
        if self._path and schedule.faults and ABSENCE in self._known:
            self._known.remove(ABSENCE)
            end_absence(self._path.parent)
        asked = {fault.id: words for fault, words in zip(schedule.asked_faults, schedule.asked_words, strict=True)}
        for fault in schedule.faults:
            words = {"asked": asked[fault.id]} if fault.id in asked else {}
            self._write(self._head(fault, 0, "planned") | {"trigger": str(fault.at) or "start"} | words)

    def begin(self, attempt: Attempt, strike: Occurrence) -> None:
        """Write that a fault strikes, and when its symptom comes and the job notices."""
        assert self._schedule
        kind, ending = KINDS[strike.fault.kind], strike.ending
        truth = kind.truth_of(strike)
        first = strike.hit.ranks[0] if strike.hit.ranks else None
        root = first if truth.root is None else truth.root
        self._change(strike, "begin", strike.second, {
            "target": target_of(strike),
            "trigger": str(strike.fault.at) or "start",
            "params": {name: text_of(value) for name, value in strike.fault.params.items()},
            "cause": strike.cause,
            "note": strike.fault.note,
            "truth": {
                "category": truth.category, "root": root,
                "transient": truth.transient, "action": truth.action,
            },
            "expect": expectation(self._schedule, attempt, strike),
            "quiet": truth.quiet or strike.fault.silent,
        })  # fmt: skip
        delay_s = kind.delay_s if strike.fault.delay_s is None else strike.fault.delay_s
        if ending or not truth.quiet:
            self._change(strike, "symptom", strike.second + delay_s)
        if ending:
            self._change(strike, "detected", strike.second + ending.after_s)
            self._change(strike, "end", strike.second + ending.after_s)
        elif strike.end_s < float("inf"):
            self._change(strike, "end", strike.end_s)

    def recovered(self, attempt: Attempt) -> None:
        """Write that the job goes on after the fault that ended the attempt before this one."""
        assert self._schedule
        before = self._schedule.attempt(attempt.number - 1)
        if before and before.ended_by:
            self._change(before.ended_by, "recovered", attempt.begin_s)

    def finished(self) -> None:
        """Write which faults have not come, at the end of the job."""
        assert self._schedule
        if not self._schedule.faults and not self._schedule.drawn and ABSENCE not in self._known:
            self._write({"event": "faults", "count": 0, "simulated": True, "schema": SCHEMA, "run": self._run.number})
        struck = {strike.fault.id for attempt in self._schedule.attempts() for strike in attempt.occurrences}
        for fault in self._schedule.faults:
            if fault.id not in struck:
                self._write(self._head(fault, 0, "skipped"))

    def _change(self, strike: Occurrence, state: str, second: float, more: Mapping[str, Any] | None = None) -> None:
        time = self._clock.start + timedelta(seconds=self._origin_s + second)
        head = self._head(strike.fault, strike.number, state)
        place = {
            "time": time.isoformat(timespec="milliseconds"), "elapsed": round(second, 6), "step": strike.step,
            "phase": strike.phase, "attempt": strike.attempt,
        }  # fmt: skip
        self._write(head | place | dict(more or {}))

    def _head(self, fault: Fault, occurrence: int, state: str) -> dict[str, Any]:
        return {
            "event": "fault", "simulated": True, "schema": SCHEMA, "run": self._run.number, "seed": self._run.seed,
            "id": fault.id, "occurrence": occurrence, "kind": fault.kind, "state": state,
        }  # fmt: skip

    def _write(self, fields: Mapping[str, Any]) -> None:
        key = _key(fields)
        if key in self._known:
            return
        self._known.add(key)
        if self._take:
            self._take(fields)
        if self._path:
            self._append(self._path, fields)

    def _append(self, path: Path, fields: Mapping[str, Any]) -> None:
        from accelerate_sim.artifacts.atomic import explained

        wall = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps(dict(fields) | {"wall": wall}, separators=(",", ":")) + "\n"
        with explained(path, "What it holds is whole."), path.open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())


def _key(fields: Mapping[str, Any]) -> tuple[object, ...]:
    return tuple(fields.get(name) for name in ("event", "run", "id", "occurrence", "state"))


def asked_in(directory: Path, run: int) -> tuple[str, ...]:
    """The words of the faults that a run was asked for while it was played into ``directory``."""
    changes = _whole_lines(directory / FILE_NAME)
    return tuple(str(change["asked"]) for change in changes if change.get("run") == run and "asked" in change)


def _known(path: Path) -> set[tuple[object, ...]]:
    """Keys of the whole lines that are there."""
    return {_key(fields) for fields in _whole_lines(path)}


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """The objects that are there; a line that was cut off is removed."""
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        os.truncate(path, len(whole))
    found = []
    for line in whole.splitlines():
        try:
            fields = json.loads(line)
        except ValueError:
            continue
        if isinstance(fields, dict):
            found.append(fields)
    return found
