"""``score``: precision, recall and delay of a detector's alerts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelerate_sim.testing import Alert, score


def fault(
    name: str, begin_s: float, end_s: float | None = None, host: str = "node1", rank: int = 3
) -> list[dict[str, Any]]:
    """The transitions of one fault."""
    target = {"ranks": [rank], "nodes": [{"index": 1, "host": host}]}
    begin = {"event": "fault", "id": name, "state": "begin", "elapsed": begin_s, "target": target}
    planned = {"event": "fault", "id": name, "state": "planned"}
    return [planned, begin, *([{"event": "fault", "id": name, "state": "end", "elapsed": end_s}] if end_s else [])]


def test_a_perfect_detector() -> None:
    truth = fault("a", 100.0) + fault("b", 5000.0)
    found = score([130.0, 5010.0], truth)
    assert (found.precision, found.recall, found.delay_s) == (1.0, 1.0, 20.0)
    assert (found.missed, found.false_alarms) == ((), ())


def test_what_is_missed_and_what_is_alerted_for_nothing() -> None:
    found = score([20.0, 130.0, 140.0], fault("a", 100.0) + fault("b", 5000.0))
    assert found.precision == pytest.approx(2 / 3)
    assert (found.recall, found.missed) == (0.5, ("b#0",))
    assert found.false_alarms == (Alert(20.0),)


def test_an_alert_may_come_while_a_fault_lasts_and_some_time_after() -> None:
    truth = fault("a", 100.0, 4000.0)
    assert score([4600.0], truth).recall == 1.0
    assert score([4601.0], truth).recall == 0.0
    assert score([4601.0], truth, within_s=601.0).recall == 1.0


def test_the_wrong_machine_is_no_hit() -> None:
    truth = fault("a", 100.0)
    assert score([Alert(110.0, host="node0")], truth).recall == 0.0
    assert score([Alert(110.0, host="node1", rank=2)], truth).precision == 0.0
    assert score([Alert(110.0, host="node1", rank=3)], truth).recall == 1.0


def test_a_clean_run() -> None:
    assert score([], []).precision == score([], []).recall == 1.0
    assert score([5.0], []).precision == 0.0


@given(st.lists(st.floats(0, 1e5)), st.lists(st.floats(0, 1e5), max_size=5))
def test_figures_are_shares(alerts: list[float], begins: list[float]) -> None:
    truth = [event for index, begin in enumerate(begins) for event in fault(f"f{index}", begin)]
    found = score(alerts, truth)
    assert 0.0 <= found.precision <= 1.0
    assert 0.0 <= found.recall <= 1.0
    assert len(found.missed) == round(len(begins) * (1.0 - found.recall))
    assert found.delay_s is None or 0.0 <= found.delay_s <= 600.0
