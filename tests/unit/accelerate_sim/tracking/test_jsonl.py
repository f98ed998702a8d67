"""Lines of metrics.jsonl: the template of steps and the general form agree."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from accelerate_sim.records import StepRecord
from accelerate_sim.tracking.json_events import json_event
from accelerate_sim.tracking.jsonl import JsonlTracker

NOW = datetime(2026, 1, 31, 9, 30, 0, 123_456)
STEP = StepRecord(
    run=1, epoch=2, step=40, time=NOW, elapsed_s=1.5, step_time_s=0.25, loss=2.0625, perplexity=7.8656, grad_norm=1e-7,
    lr=1.5e-05, global_batch=128, tokens=2**40, tokens_per_s=1e22, mfu=0.4512, memory_used_bytes=70 * 2**30,
)  # fmt: skip


def lines_of(directory: Path, *records: StepRecord, attempt: int | None = None, strings: bool = False) -> list[str]:
    tracker = JsonlTracker(directory, lambda: NOW, every_gpu=False, strings=strings)
    tracker.begin_attempt(attempt)
    for record in records:
        tracker.observe(record)
    tracker.close()
    return (directory / "metrics.jsonl").read_text().splitlines()


@pytest.mark.parametrize("attempt", [None, 0, 3])
@pytest.mark.parametrize(
    "changes",
    [
        {}, {"load_balancing_loss": 1.000244}, {"loss_scale": 65536.0, "skipped": False}, {"loss": math.nan},
        {"grad_norm": math.inf}, {"loss": 1e300, "perplexity": 5e-324}, {"lr": 0.0, "tokens": 0},
    ],
)  # fmt: skip
def test_a_line_of_a_step_is_the_json_of_its_event(
    tmp_path: Path, attempt: int | None, changes: dict[str, Any]
) -> None:
    record = replace(STEP, **changes)
    (line,) = lines_of(tmp_path, record, attempt=attempt)
    found = json.loads(line)
    event = json_event(record, attempt=attempt)
    assert event is not None
    assert found.pop("timestamp").startswith("2026-01-")
    assert list(found.items()) == list(json.loads(json.dumps(event)).items())
    assert line == json.dumps(json.loads(line), separators=(",", ":"))


def test_numbers_as_strings_are_those_of_the_plain_form(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    plain = json.loads(lines_of(tmp_path / "plain", STEP)[0])
    strings = json.loads(lines_of(tmp_path, STEP, strings=True)[0])
    assert strings == {name: value if isinstance(value, str) else str(value) for name, value in plain.items()}
