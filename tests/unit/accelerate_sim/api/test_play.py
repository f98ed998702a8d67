"""``play``: the records of a run, which are those that the training script reports."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from accelerate_sim.api import (
    AttemptRecord,
    ConfigError,
    FaultRecord,
    GpuRecord,
    StartRecord,
    StepRecord,
    SummaryRecord,
    play,
    to_frame,
)
from accelerate_sim.tracking.json_events import json_event
from tests.conftest import START, Played, Train

OF_THE_FILE = ("path", "export_path", "timestamp")
Events = list[dict[str, Any]]


def events(played: Iterable[Any], *, attempts: bool = False) -> Events:
    """The lines that metrics.jsonl would hold, without the paths: nothing is written here."""
    found, attempt = [], 0 if attempts else None
    for record in played:
        if isinstance(record, AttemptRecord):
            attempt = (attempt or 0) + 1
        if event := json_event(record, attempt=attempt):
            found.append(json.dumps(event, default=lambda value: value.isoformat(timespec="milliseconds")))
    return of_the_run(found)


def of_the_run(lines: Iterable[str]) -> Events:
    """The lines as objects, without what only a file has."""
    return [{name: value for name, value in json.loads(line).items() if name not in OF_THE_FILE} for line in lines]


def written(directory: Path) -> Events:
    return of_the_run((directory / "metrics.jsonl").read_text().splitlines())


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
    assert events(play(config, changes, start=datetime.fromisoformat(START))) == written(run.directory)


@pytest.mark.parametrize(
    ("faults", "restarts"),
    [
        (["slow gpu=0:1 factor=2 at=step:8 for=5steps", "nan at=step:15 for=2steps", "hang rank=2 at=step:18"], 3),
        (["kill rank=0 at=phase:checkpoint", "kill rank=0 at=phase:eval"], 3),
        (["overflow at=step:7", "corrupt storage=checkpoint at=step:12", "xid gpu=1:0 code=79 at=step:13"], 3),
        (["kill rank=1 at=step:7 times=always"], 1),
    ],
    ids=["lasting ones", "between steps", "of several kinds", "until no restart is left"],
)
def test_faults_strike_as_they_do_in_the_script(faults: list[str], restarts: int, train: Train, tmp_path: Path) -> None:
    changes = ["checkpoint.every=5", f"faults.restarts={restarts}"]
    words = [word for change in changes for word in ("--set", change)]
    words += [word for fault in faults for word in ("--fault", fault)]
    out = tmp_path / "out"
    done = train("--config", "debug", "--speed", "max", "--start-time", START, "--output-dir", str(out), *words)
    records = list(play("debug", changes, start=datetime.fromisoformat(START), faults=faults))
    assert events(records, attempts=True) == written(out)
    struck = [(each.id, each.step, each.ends_attempt) for each in records if isinstance(each, FaultRecord)]
    truth = [json.loads(line) for line in (out / "faults.jsonl").read_text().splitlines()]
    assert [each[:2] for each in struck] == [(each["id"], each["step"]) for each in truth if each["state"] == "begin"]
    assert (done.returncode == 0) is isinstance(records[-1], SummaryRecord)


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
    assert [events(each) for each in together] == alone
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
    with pytest.raises(ConfigError, match="rank 99 of 4 does not exist"):
        play("debug", faults=["kill rank=99 at=step:3"])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"config": 3}, "config = 3 names no config. Use e.g. 'llama70b'"),
        ({"changes": 7}, "changes = 7 is no list of texts. Use e.g. changes=['train.lr=3e-4']; a seed is given"),
        ({"changes": "train.lr=1"}, "changes = 'train.lr=1' is no list of texts."),
        ({"changes": [7]}, "changes = [7] is no list of texts."),
        ({"changes": b"train.lr=1"}, "changes = b'train.lr=1' is no list of texts."),
        ({"faults": {1: 2}}, "faults = {1: 2} is no list of texts."),
        ({"config": {"train": {3: 4}}}, "config = 3 is a key that is no text. Use texts, e.g. {'train'"),
        ({"start": "2026-01-31"}, "start = '2026-01-31' is no date and time. Use e.g. start=datetime(2026, 1, 31"),
        ({"faults": "kill rank=1"}, "faults = 'kill rank=1' is no list of texts. Use e.g. faults=['kill rank=13"),
    ],
)
def test_arguments_of_other_types_are_named_with_the_way_out(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        play(**{"config": "debug"} | arguments)
    assert str(error.value).startswith(message)


def test_changes_and_faults_come_from_anything_that_lists_them() -> None:
    faults = (f"kill rank={rank} at=step:3" for rank in (1,))
    start = next(play("debug", changes=(text for text in ["run.seed=7"]), faults=faults))
    assert isinstance(start, StartRecord) and start.seed == 7


def test_records_make_a_table() -> None:
    pytest.importorskip("pandas")
    table = to_frame(play("debug"), StepRecord)
    assert list(table["step"]) == list(range(1, 21))
    assert len(to_frame(play("debug"), GpuRecord).columns) > 5


@pytest.mark.parametrize("other", ["debug", 3])
def test_what_is_no_record_makes_no_table(other: Any) -> None:
    with pytest.raises(ConfigError) as error:
        to_frame(other)
    assert str(error.value).startswith(f"records = {other!r} are no records. Use those of a run")
