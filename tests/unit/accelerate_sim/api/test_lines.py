"""``play(voice=...)``: the lines of a run are those that the training script prints, each after its record."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import datetime

import pytest

from accelerate_sim.api import (
    ConfigError,
    EvalRecord,
    FaultRecord,
    StepRecord,
    TextRecord,
    play,
    to_frame,
)
from tests.conftest import START, Train, setting
from tests.support.repository import ROOT

BEGIN = datetime.fromisoformat(START)
RESTORING = ["kill rank=1 at=step:8", "hang rank=2 at=phase:restore"]
"""Faults of which the second strikes while the job that the first one has ended goes on from its checkpoint."""


def lines(played: Sequence[object], stream: str) -> list[str]:
    return [each.text for each in played if isinstance(each, TextRecord) and each.stream == stream]


def without_frames(printed: list[str]) -> list[str]:
    """The lines without the frames of tracebacks, which show how this program was started, and its name."""
    return [line.replace(str(ROOT / "train.py"), "train.py") for line in printed if not line.startswith("  ")]


@pytest.mark.parametrize(
    ("voice", "config", "changes", "faults"),
    [
        ("house", "debug", ["log.every=1"], []),
        ("house", "debug", ["log.ranks=node", "checkpoint.every=3", "checkpoint.keep_last=2"], []),
        ("house", "debug", [], ["kill rank=1 at=step:13", "kill rank=0 at=phase:eval"]),
        (
            "house",
            "debug",
            ["checkpoint.every=5"],
            ["kill gpu=0:1 at=phase:load", *RESTORING],
        ),
        (
            "house",
            "debug",
            [],
            ["slow gpu=0:1 why=thermal factor=1.2 at=phase:load", "kill rank=1 at=phase:nccl times=2"],
        ),
        ("kv", "debug", [], ["kill rank=1 at=phase:rendezvous", "hang rank=1 at=phase:warmup"]),
        ("house", "debug", ["train.batch_ramp={start: 32, increment: 32, samples: 320}"], []),
        ("kv", "debug", ["log.ranks=all"], ["kill rank=1 at=step:7 times=always"]),
        ("hf@4", "debug", ["log.ranks=node"], ["nan at=step:5 for=2steps"]),
        ("megatron@0.19", "debug", [], ["preempt job at=step:9"]),
        ("torchtitan@0.1", "debug", [], []),
        ("nemo", "debug", [], []),
        ("olmo", "mixtral8x7b", ["train.max_steps=120", "eval.every=50"], []),
    ],
)
def test_the_lines_are_those_of_the_script(
    voice: str, config: str, changes: list[str], faults: list[str], train: Train
) -> None:
    words = [*setting(*changes), *[word for fault in faults for word in ("--fault", fault)]]
    done = train("--config", config, "--speed", "max", "--start-time", START, "--voice", voice, "--no-progress", *words)
    assert done.returncode in (0, 1), done.stderr
    played = list(play(config, changes, start=BEGIN, faults=faults, voice=voice))
    assert lines(played, "stdout") == done.stdout.splitlines()
    assert without_frames(lines(played, "stderr")) == without_frames(done.stderr.splitlines())


def test_a_voice_changes_no_record() -> None:
    spoken = list(play("debug", seed=3, start=BEGIN, voice="hf@5", faults=["kill rank=1 at=step:13"]))
    silent = list(play("debug", seed=3, start=BEGIN, faults=["kill rank=1 at=step:13"]))
    kinds = (StepRecord, EvalRecord, FaultRecord)
    assert [each for each in spoken if isinstance(each, kinds)] == [each for each in silent if isinstance(each, kinds)]
    assert not any(isinstance(each, TextRecord) for each in silent)


def test_lines_follow_their_record() -> None:
    played = list(play("debug", ["log.every=1"], voice="kv"))
    at = next(index for index, each in enumerate(played) if isinstance(each, StepRecord) and each.step == 7)
    line = played[at + 1]
    assert isinstance(line, TextRecord)
    assert "event=step step=7 " in line.text
    assert (line.rank, line.stream) == (0, "stdout")


def test_runs_with_voices_side_by_side_do_not_disturb_each_other() -> None:
    voices = ("house", "hf@5", "megatron@0.15")
    alone = [lines(list(play("debug", start=BEGIN, voice=voice)), "stdout") for voice in voices]
    runs = [play("debug", start=BEGIN, voice=voice) for voice in voices]
    turns = zip(*itertools.zip_longest(*runs), strict=True)
    together = [[record for record in each if record is not None] for each in turns]
    assert [lines(each, "stdout") for each in together] == alone


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    list(play("debug", voice="house", faults=["kill rank=1 at=step:13"]))
    assert capfd.readouterr() == ("", "")


def test_an_unknown_voice_is_named() -> None:
    with pytest.raises(ConfigError, match="megatorn"):
        play("debug", voice="megatorn")


def test_lines_make_a_table() -> None:
    pytest.importorskip("pandas")
    table = to_frame(play("debug", voice="hf@5"), TextRecord)
    assert set(table["event"]) == {"text"}
    assert table["text"].str.contains("eval_loss").any()
