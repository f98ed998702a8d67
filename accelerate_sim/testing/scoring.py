"""``score``: judges the alerts of a detector by the ground truth of a run."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

WITHIN_S = 600.0


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert of a detector."""

    elapsed_s: float
    """Simulated seconds after the first step began."""
    host: str | None = None
    """Host that the detector blames; None if it blames none."""
    rank: int | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """The agreement of alerts with the faults that really happened."""

    precision: float
    """Share of the alerts that a fault explains; 1 without alerts."""
    recall: float
    """Share of the faults that were alerted; 1 without faults."""
    delay_s: float | None
    """Median of simulated seconds from a fault's begin to its first alert; None if none was alerted."""
    missed: tuple[str, ...]
    """Faults without an alert."""
    false_alarms: tuple[Alert, ...]


def score(alerts: Iterable[Alert | float], truth: Iterable[Mapping[str, Any]], within_s: float = WITHIN_S) -> Score:
    """Compare alerts with the transitions of faults.jsonl.

    A fault explains an alert that comes from its begin until ``within_s`` simulated seconds after its end (or after its
    begin, for one that has no end), and that names no culprit, or one that the fault hits. A bare number is an alert
    at that many seconds.
    """
    given = [alert if isinstance(alert, Alert) else Alert(float(alert)) for alert in alerts]
    faults = _faults(truth)
    explained: set[int] = set()
    delays: dict[str, float] = {}
    for name, (begin, end_s) in faults.items():
        fitting = [
            index
            for index, alert in enumerate(given)
            if begin["elapsed"] <= alert.elapsed_s <= end_s + within_s and _is_hit(alert, begin.get("target") or {})
        ]
        explained.update(fitting)
        if fitting:
            delays[name] = min(given[index].elapsed_s for index in fitting) - begin["elapsed"]
    return Score(
        precision=len(explained) / len(given) if given else 1.0,
        recall=len(delays) / len(faults) if faults else 1.0,
        delay_s=statistics.median(delays.values()) if delays else None,
        missed=tuple(name for name in faults if name not in delays),
        false_alarms=tuple(alert for index, alert in enumerate(given) if index not in explained),
    )


def _faults(truth: Iterable[Mapping[str, Any]]) -> dict[str, tuple[Mapping[str, Any], float]]:
    """Begin and end of each fault that happened, by its id and occurrence."""
    found: dict[str, tuple[Mapping[str, Any], float]] = {}
    for event in truth:
        name = f"{event['id']}#{event.get('occurrence', 0)}"
        if event["state"] == "begin":
            found[name] = event, event["elapsed"]
        elif name in found and event.get("elapsed") is not None:
            begin, end_s = found[name]
            found[name] = begin, max(end_s, event["elapsed"])
    return found


def _is_hit(alert: Alert, target: Mapping[str, Any]) -> bool:
    """True if the alert names no culprit, or one that the fault hits."""
    if target.get("job"):
        return True
    hosts = {node["host"] for node in target.get("nodes", ())}
    return (alert.host is None or alert.host in hosts) and (alert.rank is None or alert.rank in target.get("ranks", ()))
