"""``play``: the records of a run, which are those that the training script reports."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from accelerate_sim.api import ConfigError, GpuRecord, StepRecord, SummaryRecord, play, to_frame
from accelerate_sim.tracking.jsonl import json_event
from tests.conftest import START, Played

OF_THE_FILE = ("path", "export_path", "timestamp")


def events(played: Iterator[Any]) -> list[dict[str, Any]]:
    """The lines that metrics.jsonl would hold, without the paths: nothing is written here."""
    text = (json.dumps(json_event(record), default=lambda value: value.isoformat(timespec="milliseconds"))
            for record in played)  # fmt: skip
    return [{name: value for name, value in json.loads(line).items() if name not in OF_THE_FILE} for line in text]


def written(run: Played) -> list[dict[str, Any]]:
    lines = (run.directory / "metrics.jsonl").read_text().splitlines()
    return [{name: value for name, value in json.loads(line).items() if name not in OF_THE_FILE} for line in lines]


@pytest.mark.parametrize(
    ("fixture", "config", "changes"),
    [
        ("small", "debug", ["log.every=1"]),
        (
            "experts",
            "mixtral8x7b",
            ["train.max_steps=240", "log.every=1", "checkpoint.every=80", "eval.every=80"],
        ),
    ],
)
def test_the_records_are_those_of_the_script(
    fixture: str, config: str, changes: list[str], request: pytest.FixtureRequest
) -> None:
    run: Played = request.getfixturevalue(fixture)
    assert events(play(config, changes, start=datetime.fromisoformat(START))) == written(run)


def test_records_are_computed_as_they_are_asked_for() -> None:
    """A run of a million steps begins at once."""
    long = play("debug", ["train.epochs=1000", "train.steps_per_epoch=1000", "train.warmup_steps=10"])
    steps = (record for record in long if isinstance(record, StepRecord))
    assert [record.step for record in itertools.islice(steps, 3)] == [1, 2, 3]


def test_runs_side_by_side_do_not_disturb_each_other() -> None:
    start = datetime.fromisoformat(START)
    alone = [events(play("debug", seed=seed, start=start)) for seed in (1, 2)]
    pair = itertools.zip_longest(play("debug", seed=1, start=start), play("debug", seed=2, start=start))
    together = [[record for record in each if record is not None] for each in zip(*pair, strict=True)]
    assert [events(iter(each)) for each in together] == alone
    assert alone[0] != alone[1]


def test_a_summary_ends_the_run() -> None:
    *_, last = play("debug")
    assert isinstance(last, SummaryRecord)
    assert last.steps == 20


def test_mistakes_are_named_before_the_first_record() -> None:
    with pytest.raises(ConfigError, match=r"train\.lr"):
        play("debug", ["train.lr=0"])
    with pytest.raises(ConfigError, match="debugg"):
        play("debugg")
    with pytest.raises(ConfigError, match=r"run\.speed"):
        play("debug", speed=0)


def test_records_make_a_table() -> None:
    pytest.importorskip("pandas")
    table = to_frame(play("debug"), StepRecord)
    assert list(table["step"]) == list(range(1, 21))
    assert len(to_frame(play("debug"), GpuRecord).columns) > 5
