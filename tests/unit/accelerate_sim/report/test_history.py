"""``RunHistory``: the events that metrics.jsonl and faults.jsonl hold of one run, whole or still growing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accelerate_sim.report.history import NoHistory, TimeUnit, read_history


def start(run: int = 1) -> dict[str, Any]:
    return {"event": "start", "run": run, "config": {}, "startup_s": 3.0}


def step(number: int, **figures: Any) -> dict[str, Any]:
    return {"event": "step", "run": 1, "step": number, "elapsed_s": 10.0 * number, "loss": 5.0 - number} | figures


def directory(path: Path, *events: dict[str, Any], tail: str = "", name: str = "metrics.jsonl") -> Path:
    (path / name).write_text("".join(f"{json.dumps(event)}\n" for event in events) + tail)
    return path


def test_steps_are_arrays_in_the_order_of_time(tmp_path: Path) -> None:
    history = read_history(directory(tmp_path, start(), step(1), step(2), step(3)))
    assert history.figures("loss").tolist() == [4.0, 3.0, 2.0]
    assert history.elapsed_h.tolist() == pytest.approx([10 / 3600, 20 / 3600, 30 / 3600])
    assert history.attempts.tolist() == [0, 0, 0]
    assert history.summary is None


def test_a_line_that_is_being_written_does_not_count(tmp_path: Path) -> None:
    history = read_history(directory(tmp_path, start(), step(1), tail='{"event": "step", "st'))
    assert len(history.steps) == 1


def test_figures_that_are_written_as_strings_are_numbers(tmp_path: Path) -> None:
    (tmp_path / "strings").mkdir()
    made = step(1, tokens_per_s=1.5e6, lr=6e-05, tokens=65536), step(2, tokens_per_s=2e6, lr=1e-04, tokens=131072)
    strings = [{name: each if name == "event" else str(each) for name, each in event.items()} for event in made]
    figures, read = (
        read_history(directory(path, start(), *steps))
        for path, steps in ((tmp_path, made), (tmp_path / "strings", strings))
    )
    assert read.steps == figures.steps
    for name in ("loss", "lr", "tokens_per_s", "tokens"):
        assert read.figures(name).tolist() == figures.figures(name).tolist()


def test_the_last_run_is_taken_unless_another_is_named(tmp_path: Path) -> None:
    found = directory(tmp_path, start(1), step(1), start(2), step(1), step(2))
    assert len(read_history(found).steps) == 2
    assert len(read_history(found, 1).steps) == 1
    with pytest.raises(NoHistory, match="no run 7; it has 1, 2"):
        read_history(found, 7)


def test_steps_that_are_made_twice_belong_to_two_attempts(tmp_path: Path) -> None:
    made = (step(1, attempt=0), step(2, attempt=0), step(2, attempt=1, elapsed_s=99.0), step(3, attempt=1))
    history = read_history(directory(tmp_path, start(), *made))
    assert history.attempts.tolist() == [0, 0, 1, 1]
    assert history.hours_of(2) == pytest.approx(20 / 3600)
    assert np.isnan(history.hours_of(4))


def test_faults_stand_beside_the_metrics(tmp_path: Path) -> None:
    directory(tmp_path, start(), step(1))
    fault = {"event": "fault", "run": 1, "state": "begin", "id": "kill-1", "elapsed": 12.0}
    directory(tmp_path, {"event": "faults", "count": 1}, fault, fault | {"run": 2}, name="faults.jsonl")
    assert [each["id"] for each in read_history(tmp_path).faults] == ["kill-1"]


def test_what_holds_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoHistory, match=r"metrics\.jsonl can't be read: No such file"):
        read_history(tmp_path)
    with pytest.raises(NoHistory, match="holds no run that has begun"):
        read_history(directory(tmp_path))
    with pytest.raises(NoHistory, match=r"is damaged"):
        read_history(directory(tmp_path, start(), tail="no JSON\n"))


def test_a_time_axis_has_a_unit_that_suits_the_run() -> None:
    assert [TimeUnit.of(hours).name for hours in (0.05, 2.0, 24.0, 480.0)] == ["seconds", "minutes", "hours", "days"]


def test_a_line_is_interrupted_between_two_attempts(tmp_path: Path) -> None:
    made = (step(1, step_time_s=10.0), step(2, step_time_s=10.0), step(2, attempt=1, elapsed_s=99.0, step_time_s=9.0))
    history = read_history(directory(tmp_path, start(), *made))
    assert np.isnan(history.line(history.figures("step"))).tolist() == [False, False, True, False]
    assert history.spans_h.tolist() == [pytest.approx([0.0, 20 / 3600]), pytest.approx([90 / 3600, 99 / 3600])]
    assert history.hours_of(2, attempt=1) == pytest.approx(99 / 3600)


def test_the_last_run_that_has_made_a_step_is_taken(tmp_path: Path) -> None:
    assert read_history(directory(tmp_path, start(1), step(1), start(2))).start["run"] == 1
