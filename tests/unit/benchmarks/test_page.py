"""The benchmark page: figures are measured by turns, and a row has the ratios of rounds, not of minima."""

from __future__ import annotations

import sys

import pytest

from tests.benchmarks.__main__ import page, parts
from tests.benchmarks.figure import Figure, cost_of, measure


def test_both_sides_are_measured_by_turns() -> None:
    calls: list[str] = []
    values = iter([4.0, 2.0, 9.0, 3.0, 6.0, 3.0])

    def side(name: str) -> float:
        calls.append(name)
        return next(values)

    figure = Figure("a start", "ms", "a limit", lambda: side("ours"), lambda: side("limit"))
    measured = measure([figure], 3)
    assert calls == ["ours", "limit"] * 3
    assert measured[0].row() == "| a start | 4 ms | a limit | 2 ms | 2.00 | 2.00-3.00 |"
    assert "## Starts\n" in page({"starts": measured}, 3)


def test_the_cost_of_a_command_is_its_own() -> None:
    memory = "held = bytearray(200_000_000)"
    cost = cost_of((sys.executable, "-c", f"{memory}; sum(range(3_000_000))"))
    assert cost.cpu_s > 0.0
    assert cost.peak_bytes > 200_000_000


def test_a_command_that_fails_is_no_figure() -> None:
    with pytest.raises(RuntimeError, match="exit code 3"):
        cost_of((sys.executable, "-c", "raise SystemExit(3)"))


def test_runs_and_starts_are_parts_of_the_page() -> None:
    assert {"run", "start"} <= set(parts())
