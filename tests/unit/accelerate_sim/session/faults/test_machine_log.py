"""The logs of machines are in the order of time, over the end of a year, and hold each strike once."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from accelerate_sim.session.faults.machine_log import Stamped, add

NOON = datetime(2026, 1, 31, 12)


def line(moment: datetime, text: str) -> Stamped:
    return moment, f"{moment:%b} {moment.day:2d} {moment:%H:%M:%S} node0 kernel: {text}"


def texts(path: Path) -> list[str]:
    return [text.rpartition(": ")[2] for text in path.read_text().splitlines()]


def test_a_late_line_stands_after_an_earlier_line_of_a_later_strike(tmp_path: Path) -> None:
    log = tmp_path / "node0" / "kern.log"
    add(log, [line(NOON, "first"), line(NOON + timedelta(seconds=12), "late")])
    add(log, [line(NOON + timedelta(seconds=5), "second")])
    add(log, [line(NOON + timedelta(seconds=12), "third")])
    assert texts(log) == ["first", "second", "late", "third"]


def test_a_strike_that_is_played_again_is_there_once(tmp_path: Path) -> None:
    log, strike = tmp_path / "kern.log", [line(NOON, "twice"), line(NOON, "twice"), line(NOON, "once")]
    add(log, strike)
    add(log, strike)
    assert texts(log) == ["twice", "twice", "once"]


def test_the_end_of_a_year_is_in_order(tmp_path: Path) -> None:
    log, midnight = tmp_path / "kern.log", datetime(2027, 1, 1)
    add(log, [line(midnight - timedelta(seconds=9), "old"), line(midnight + timedelta(seconds=3), "new")])
    add(log, [line(midnight - timedelta(seconds=2), "last")])
    assert texts(log) == ["old", "last", "new"]
