"""Whole runs in the voices of frameworks: in one process, and with a process for each rank."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from accelerate_sim.config.voice_table import VOICES
from tests.support.reading import Train
from tests.support.repository import ROOT
from tests.support.train_ranks import Job
from tests.support.warm_launcher import run_launcher

LIMIT_S = 60
START = "2026-01-31T09:30:00+00:00"
DEBUG = ("--config", "configs/debug.yaml", "--speed", "max", "--start-time", START)
ALL = [f"{name}@{version}" for name, entry in VOICES.items() for version in entry.versions or ("",) if name != "house"]
HOUSE = re.compile(r"^\[[^]]*\] \[Rank \d+/\d+\] [A-Z]+ ", re.MULTILINE)


@pytest.mark.parametrize("voice", ALL)
def test_a_run_has_no_line_of_the_house_in_another_voice(train: Train, voice: str) -> None:
    run = train(*DEBUG, "--voice", voice.removesuffix("@"))
    assert run.returncode == 0
    assert bool(run.stdout + run.stderr) == (voice != "deepspeed@0.18"), "which says nothing at its level of logging"
    assert not HOUSE.search(run.stdout + run.stderr)
    assert " · util " not in run.stdout, "GPU grids are the house's"


@pytest.mark.parametrize(
    "voice", ["megatron", *(pytest.param(each, marks=pytest.mark.slow) for each in ("kv", "hf@4"))]
)
def test_each_process_prints_the_lines_of_its_rank(train: Train, voice: str) -> None:
    """All together print what one process prints, and what a rank prints is in that order."""
    shape = ("--set", "cluster.nodes=2", "--set", "cluster.gpus_per_node=4", "--set", "parallel.tensor=2")
    alone = train(*DEBUG, *shape, "--voice", voice)
    assert alone.returncode == 0
    with Job([*DEBUG, *shape, "--voice", voice], 8, 4) as job:
        assert job.wait() == [0] * 8
    lines = alone.stdout.splitlines()
    printed = [rank.stdout.splitlines() for rank in job.ranks]
    joined = [line for each in printed for line in each if "event=process" not in line]
    assert sorted(joined) == sorted(lines)
    for each in printed:
        rest = iter(lines)
        assert all(line in rest for line in each if "event=process" not in line)
    assert "".join(rank.stderr for rank in job.ranks) == alone.stderr
    if voice == "megatron":
        assert sum("lm loss:" in line for line in printed[7]) == 5
        assert [bool(each) for each in printed] == [True, True, False, False, False, False, False, True]


@pytest.mark.parametrize(
    "voice", ["megatron@0.15", *(pytest.param(each, marks=pytest.mark.slow) for each in ("kv", "hf@5"))]
)
def test_a_launched_job_prints_what_one_process_prints(train: Train, tmp_path: Path, voice: str) -> None:
    shape = ("--set", "cluster.nodes=2", "--set", "cluster.gpus_per_node=4")
    arguments = [str(ROOT / word) if word.startswith("configs/") else word for word in (*DEBUG, "--voice", voice)]
    job = run_launcher(
        ["--nnodes", "2", "--nproc-per-node", "4", str(ROOT / "train.py"), *arguments], cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, timeout=LIMIT_S,
    )  # fmt: skip
    assert job.returncode == 0, job.stderr
    alone = train(*arguments, *shape, cwd=tmp_path)
    printed = [line for line in job.stdout.splitlines() if "event=process" not in line]
    assert sorted(printed) == sorted(alone.stdout.splitlines())


@pytest.mark.parametrize("ranks, want", [("main", [0]), ("node", [0, 2]), ("all", [0, 1, 2, 3])])
def test_the_config_names_the_ranks_that_log_steps(train: Train, ranks: str, want: list[int]) -> None:
    said = train(*DEBUG, "--voice", "kv", "--set", f"log.ranks={ranks}")
    own = re.findall(r" rank=(\d) event=rank_step step=20 ", said.stdout)
    assert sorted(map(int, own)) == (want if ranks != "main" else [])
    assert said.stdout.count(" event=step step=20 ") == 1
    lines = train(*DEBUG, "--voice", "megatron", "--set", f"log.ranks={ranks}").stdout
    assert len(re.findall(r"iteration +20/ ", lines)) == len(want)
    house = train(*DEBUG, "--set", f"log.ranks={ranks}").stdout
    assert len(re.findall(r"step 20 on node\d \| own loss", house)) == (len(want) if ranks != "main" else 0)


def test_a_warning_that_a_framework_has_no_words_for_goes_to_standard_error(train: Train) -> None:
    slow = ("--set", "impose.step_time_s=[3000, 3600]", "--set", "train.steps_per_epoch=200", "--max-steps", "150")
    run = train(*DEBUG, *slow, "--voice", "megatron")
    assert not HOUSE.search(run.stdout)
    assert re.search(r"^\[[^]]*\] \[Rank \d/4\] WARNING node\d GPU \d ", run.stderr, re.MULTILINE)


@pytest.mark.parametrize(
    ("voice", "way_out"),
    [
        ("megatorn", "is no voice. Did you mean 'megatron'? Known: house, "),
        ("megatron@0.16", "is no version of megatron. Did you mean 'megatron@0.19'? Known: megatron@plain, "),
        ("house@2", "names a version, but house has none. Use house."),
    ],
)
def test_an_unknown_voice_is_refused_with_those_that_there_are(train: Train, voice: str, way_out: str) -> None:
    for arguments in (("--voice", voice), ("--set", f"log.voice={voice}")):
        refused = train("--config", "debug", *arguments)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert voice in refused.stderr
        assert way_out in refused.stderr
        assert "Traceback" not in refused.stderr


def test_the_list_of_voices_has_a_line_for_each_version_and_option(train: Train) -> None:
    text = train("--list", "voices").stdout
    for name, entry in VOICES.items():
        assert re.search(rf"^{name} +\S", text, re.MULTILINE)
        for version in entry.versions:
            assert re.search(rf"^{name}@{re.escape(version)} +\S.*", text, re.MULTILINE)
        for option in entry.options:
            assert f"--set log.voice_options.{option}=" in text


def test_options_after_the_voice_change_its_lines(train: Train) -> None:
    run = train(*DEBUG, "--voice", "megatron@0.15", "--set", "log.voice_options.log_throughput=false")
    assert "throughput per GPU" not in run.stdout
    assert "log_throughput .................................. False" in run.stdout
