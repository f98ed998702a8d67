"""A launcher plans the run of a command line that names a config, and nothing else, and prints nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from accelerate_sim import before_fork
from accelerate_sim.cli.config_changes import changes_of
from accelerate_sim.cli.planned_ahead import plan_ahead
from accelerate_sim.config.load import Override
from accelerate_sim.config.problems import ConfigError
from accelerate_sim.process.placement import Placement
from accelerate_sim.session import ready_runs
from accelerate_sim.session.run_source import RunSource
from tests.support.repository import ROOT

CONFIG = ROOT / "configs/debug.yaml"
ENVIRONMENT = {
    "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4", "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500", "TORCHELASTIC_MAX_RESTARTS": "1",
}  # fmt: skip


@pytest.fixture(autouse=True)
def none_ready() -> Iterator[None]:
    yield
    ready_runs._ready.clear()


@pytest.mark.parametrize(
    "words",
    [
        ["--config", str(CONFIG)],
        ["-c", "debug", "--speed", "max", "--seed", "9", "--max-steps", "4", "--no-progress"],
        ["--config=debug", "--set", "train.global_batch=64", "--voice", "hf@5", "--local_rank=0"],
        ["--config", "debug", "--fault", "kill rank=1 at=step:3", "--output-dir", "out"],
    ],
)
def test_rank_0_finds_the_run_that_is_planned(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    plan_ahead(words, ENVIRONMENT)
    (ready,) = ready_runs._ready
    assert (ready.run.layout.nodes, ready.run.layout.gpus_per_node) == (2, 4)
    assert bool(ready.plays) == ("--fault" in words)


def test_each_process_may_play_several_ranks() -> None:
    words = ["--config", "debug", "--set", "train.global_batch=128"]
    plan_ahead(words, ENVIRONMENT | {"FAKE_TORCHRUN_RANKS_PER_PROCESS": "2"})
    assert ready_runs._ready[0].run.layout.gpus_per_node == 8


@pytest.mark.parametrize(
    "words",
    [[], ["--speed", "max"], ["--list", "models"], ["--config", "debug", "--plan"], ["--config", "debug", "--version"],
     ["--config", "debug", "--print-config"], ["--config", "debug", "--output-dir", "out", "--resume", "auto"]],
)  # fmt: skip
def test_what_trains_no_known_run_is_not_planned(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    plan_ahead(words, ENVIRONMENT)
    assert not ready_runs._ready and capfd.readouterr() == ("", "")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_left_to_rank_0(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    plan_ahead(["--config", str(tmp_path / "pipe")], ENVIRONMENT)
    assert not ready_runs._ready


@pytest.mark.parametrize(
    "words",
    [["--config", "debug", "--sped", "max"], ["--config", "debug", "--set", "train.lr=fast"], ["--help"], ["x"],
     ["--config", "debug", "--set", "model=llama-3-405b"], ["--config", "debug", "--speed"]],
)  # fmt: skip
def test_a_mistake_is_left_to_rank_0_to_report(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    before_fork.prepare(words, ENVIRONMENT)
    assert not ready_runs._ready and capfd.readouterr() == ("", "")


def test_a_mistake_is_an_error() -> None:
    with pytest.raises(ConfigError):
        plan_ahead(["--config", "debug", "--set", "train.lr=fast"], ENVIRONMENT)


def test_options_change_the_config_in_one_order() -> None:
    options = {
        "settings": ["train.lr=1e-4"], "speed": "max", "seed": 3, "runs": None, "max_steps": 5, "voice": "hf@5",
        "log_with": ["jsonl", "csv"], "log_hazard": [], "publish": True, "record": None, "record_pace": "2",
    }  # fmt: skip
    assert changes_of(options) == [
        Override("log.voice=hf@5", "--voice"), Override("log.voice_options={}", "--voice"), Override("train.lr=1e-4"),
        Override("run.speed=max", "--speed"), Override("run.startup_speed=null", "--speed"),
        Override("run.seed=3", "--seed"), Override("train.max_steps=5", "--max-steps"),
        Override("log.trackers=[jsonl, csv]", "--log-with"), Override("run.publish=true", "--publish"),
    ]  # fmt: skip


def test_the_config_of_rank_0_is_the_one_that_is_planned() -> None:
    words = ["--config", "debug", "--speed", "max", "--set", "train.lr=1e-4"]
    plan_ahead(words, ENVIRONMENT)
    changes = changes_of({"settings": ["train.lr=1e-4"], "speed": "max"})
    source = RunSource(CONFIG, changes, None, Placement.of(ENVIRONMENT))
    assert source.plan(1) is ready_runs._ready[0].run
