"""A message from rank 0 to the other ranks comes back whole, and reading it executes nothing."""

from __future__ import annotations

import json
import pickle
from dataclasses import fields
from datetime import datetime
from pathlib import Path

import pytest

from accelerate_sim.checkpoints.resume import Resumption
from accelerate_sim.checkpoints.state import RunState
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.session.start_message import StartMessage

STATE = RunState(
    run=2, step=7, config={"train": {"lr": 3e-4}}, start_time="2026-01-31T09:30:00", origin_s=0.1 + 0.2,
    clock_s=1e9 + 1 / 7,
    metrics_bytes=4096, planned=False, ledger={"losses": [2.5, 1 / 3]}, saved=(("checkpoint-4", None),
    ("checkpoint-6", 2.25)),
)  # fmt: skip
RESUMPTION = Resumption(
    Path("out/a b"), STATE, Path("/tmp/\udcff/checkpoint-6"), damaged=("is damaged: \u00e9",),
    metrics_from=Path("elsewhere/metrics.jsonl"), begun=False,
)  # fmt: skip


def test_every_field_of_a_message_comes_back():
    config = RunConfig().model_dump(mode="json")
    start = datetime(2026, 1, 31, 9, 30, 0, 250_000)
    message = StartMessage(
        config,
        3,
        start,
        now_s=1 / 3,
        resumption=RESUMPTION,
        is_last=False,
        exit_code=143,
        attempt=1,
        restarts=2,
        asked=("kill rank=3 at=step:11 id=kill-1",),
        output_dir="out",
        cwd="/home/\udcff",
    )
    assert StartMessage.of(message.json()) == message
    assert all(getattr(message, field.name) != field.default for field in fields(StartMessage))


@pytest.mark.parametrize(
    "message",
    [StartMessage(), StartMessage(exit_code=2), StartMessage({"run": {"speed": float("inf")}}, start=datetime.max)],
)
def test_a_short_message_comes_back(message):
    assert StartMessage.of(message.json()) == message


def test_a_run_that_begins_again_is_resumed_from_no_checkpoint():
    message = StartMessage({}, resumption=Resumption(Path("out"), STATE, None))
    assert StartMessage.of(message.json()) == message


def test_a_pickle_is_no_message():
    with pytest.raises(ValueError):
        StartMessage.of(pickle.dumps(StartMessage()))
    assert json.loads(StartMessage().json())["config"] is None
