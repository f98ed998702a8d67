"""Killed, told to end, or out of disk: what is there is whole, and a run that goes on is the run it would have been."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.reading import Completed
from tests.support.repository import ROOT
from tests.support.warm_train import WarmTrain, run_warm

SEVEN = (
    "--set",
    "checkpoint.shards=tiny",
    "--set",
    "checkpoint.every=7",
    "--set",
    "checkpoint.keep_last=2",
    "--set",
    "checkpoint.keep_best=1",
)
SHORT = (
    *("--config", str(ROOT / "configs/debug.yaml"), "--start-time", "2026-01-01", "--output-dir", "out"),
    *("--set", "train.steps_per_epoch=25", "--set", "eval.every=5", "--set", "log.every=1", *SEVEN),
    *("--set", "train.micro_batch=2", "--set", "train.batch_ramp={start: 8, increment: 8, samples: 900}"),
)
"""50 steps of GPT-2, in which the batch grows; a checkpoint every 7, of which one falls together with a validation;
every step has its line.

Tensors are tiny, because copies of sparse files are not sparse."""
FAST = ("--speed", "max")
AGAIN = ("--resume", "auto")
LONG = (*SHORT, "--set", "impose.step_time_s=[4, 5]")
"""The first step takes as long as the others."""
STANDING = ("--set", "run.speed=8", "--set", "run.startup_speed=100000")
"""Each of the long steps takes half a second of real time; a signal comes in the middle of one."""

Go = Callable[..., Completed]


def go(cwd: Path, *arguments: str) -> Completed:
    return run_warm(arguments, os.environ, cwd)


@pytest.fixture(scope="module")
def never_killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run in one piece."""
    return in_one_piece(tmp_path_factory.mktemp("never"), *SHORT)


@pytest.fixture(scope="module")
def never_told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run with long steps in one piece."""
    return in_one_piece(tmp_path_factory.mktemp("long"), *LONG)


def in_one_piece(directory: Path, *arguments: str) -> Path:
    """Play a run to its end; its directory."""
    done = go(directory, *arguments, *FAST)
    assert (done.returncode, done.stderr) == (0, "")
    return directory / "out"


@pytest.fixture
def copy(never_killed: Path, tmp_path: Path) -> Path:
    """The finished run, as if it had died in its last steps: no end, no model."""
    shutil.copytree(never_killed, tmp_path / "out", ignore=shutil.ignore_patterns("final"), symlinks=True)
    run = tmp_path / "out/run.json"
    run.write_text(json.dumps(json.loads(run.read_text()) | {"end": None}))
    return tmp_path / "out"


def kill_after(cwd: Path, lines: int, *arguments: str) -> tuple[int, str]:
    """Start a run, kill it after so many lines of output or at its end, and wait: exit code and whole output."""
    return _signalled(cwd, lambda said: len(said) >= lines or is_whole(said), signal.SIGKILL, arguments)


def is_whole(said: list[str]) -> bool:
    """True for the output of a run that has ended now or had ended before."""
    return any("Training finished successfully" in line or "the run is finished" in line for line in said)


def tell_after_step(cwd: Path, step: int, number: int, *arguments: str) -> tuple[int, str]:
    """The same with signal ``number``, as soon as the line of a step is there."""
    return _signalled(cwd, lambda said: any(f" step {step} |" in line for line in said), number, arguments)


def _signalled(cwd: Path, due: Callable[[list[str]], bool], number: int, arguments: tuple[str, ...]) -> tuple[int, str]:
    with WarmTrain(arguments, os.environ, cwd, merged=True) as process:
        process.read_lines_until(due, "the line after which the signal is due")
        if process.returncode is None:
            process.send_signal(number)
        return process.wait(), process.stdout


def files(directory: Path) -> dict[str, bytes | int]:
    """Everything below ``directory``: bytes of small files, sizes of big ones."""
    return {
        str(path.relative_to(directory)): path.read_bytes() if path.stat().st_size < 10**7 else path.stat().st_size
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def metrics(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def kill_often(tmp_path: Path, kills: int, seed: int) -> None:
    choice = random.Random(seed)
    for _ in range(kills):
        code, _ = kill_after(tmp_path, choice.randint(1, 45), *SHORT, *FAST, *AGAIN)
        assert code in (-signal.SIGKILL, 0)
    done = go(tmp_path, *SHORT, *FAST, *AGAIN)
    assert (done.returncode, done.stderr) == (0, "")


def test_killed_run_goes_on_as_if_nothing_had_happened(never_killed: Path, tmp_path: Path) -> None:
    """Not only its metrics: every file is the same, to the byte."""
    kill_often(tmp_path, kills=4, seed=1)
    assert files(tmp_path / "out") == files(never_killed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
def test_twenty_kills_change_nothing(never_killed: Path, tmp_path: Path, seed: int) -> None:
    kill_often(tmp_path, kills=20, seed=seed)
    assert files(tmp_path / "out") == files(never_killed)


def test_every_checkpoint_leads_to_the_same_end(never_killed: Path, copy: Path) -> None:
    names = sorted(path.name for path in never_killed.glob("checkpoint-*"))
    assert names == ["checkpoint-35", "checkpoint-42", "checkpoint-49"]  # 35 is the only one with a validation
    for name in names:
        done = go(copy.parent, *SHORT, *FAST, "--resume", f"out/{name}")
        assert (done.returncode, done.stderr) == (0, "")
        assert (copy / "metrics.jsonl").read_bytes() == (never_killed / "metrics.jsonl").read_bytes()


def test_session_of_several_runs_goes_on_in_the_right_one(tmp_path: Path) -> None:
    both = (*SHORT, *FAST, "--runs", "2")
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    assert go(tmp_path / "whole", *both).returncode == 0
    second = (*both, *AGAIN)
    line = "Saving checkpoint out/run-2/checkpoint-21"
    code, _ = _signalled(
        tmp_path / "killed", lambda said: any(line in each for each in said), signal.SIGKILL, second
    )  # fmt: skip
    assert code == -signal.SIGKILL
    done = go(tmp_path / "killed", *both, *AGAIN)
    assert "Going on from out/run-2/checkpoint-" in done.stdout
    assert (tmp_path / "killed/out/metrics.jsonl").read_bytes() == (tmp_path / "whole/out/metrics.jsonl").read_bytes()


def test_finished_run_is_left_alone(never_killed: Path) -> None:
    before = files(never_killed)
    done = go(never_killed.parent, *SHORT, *FAST, *AGAIN)
    assert done.returncode == 0
    assert "the run is finished" in done.stdout
    assert files(never_killed) == before


def test_auto_begins_where_nothing_is(tmp_path: Path) -> None:
    done = go(tmp_path, *SHORT, *FAST, "--max-steps", "3", *AGAIN)
    assert (done.returncode, done.stderr) == (0, "")
    assert metrics(tmp_path / "out")[-1]["event"] == "summary"


def test_config_is_the_checkpoints_where_none_is_given(never_killed: Path, copy: Path) -> None:
    """A path is enough: the directory, the config and the start time are those of the run."""
    done = go(copy.parent, *FAST, "--resume", "out/checkpoint-42")
    assert (done.returncode, done.stderr) == (0, "")
    assert (copy / "metrics.jsonl").read_bytes() == (never_killed / "metrics.jsonl").read_bytes()


def test_checkpoint_goes_on_in_another_directory(never_killed: Path, tmp_path: Path) -> None:
    done = go(tmp_path, *SHORT, *FAST, "--resume", str(never_killed / "checkpoint-42"))
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out/metrics.jsonl").read_bytes() == (never_killed / "metrics.jsonl").read_bytes()


# --- Damage ---------------------------------------------------------------------------------------


def cut_json(checkpoint: Path) -> None:
    os.truncate(checkpoint / "trainer_state.json", 50)


def lie_about_sizes(checkpoint: Path) -> None:
    os.truncate(checkpoint / "model.safetensors", 1000)


def lead_outside(checkpoint: Path) -> None:
    elsewhere = checkpoint.parent.parent / "elsewhere"
    checkpoint.rename(elsewhere)
    checkpoint.symlink_to(elsewhere, target_is_directory=True)


def lose_file(checkpoint: Path) -> None:
    (checkpoint / "scheduler.bin").unlink()


@pytest.mark.parametrize("damage", [cut_json, lie_about_sizes, lead_outside, lose_file])
def test_damaged_checkpoint_is_named_and_the_one_before_is_taken(
    damage: Callable[[Path], None], never_killed: Path, copy: Path
) -> None:
    damage(copy / "checkpoint-49")
    done = go(copy.parent, *SHORT, *FAST, *AGAIN)
    warning = next(line for line in done.stdout.splitlines() if "WARNING Checkpoint out/checkpoint-49 " in line)
    assert " has " in warning or "symbolic link" in warning
    assert "Going on from out/checkpoint-42" in done.stdout
    assert (done.returncode, done.stderr) == (0, "")
    assert (copy / "metrics.jsonl").read_bytes() == (never_killed / "metrics.jsonl").read_bytes()


def test_checkpoint_that_counts_on_lost_metrics_is_passed_over(copy: Path) -> None:
    os.truncate(
        copy / "metrics.jsonl", json.loads((copy / "checkpoint-42/run_state.json").read_text())["metrics_bytes"]
    )
    done = go(copy.parent, *SHORT, *FAST, *AGAIN)
    assert "checkpoint-49 counts" in done.stdout
    assert "Going on from out/checkpoint-42" in done.stdout


REFUSALS = {
    "no checkpoint": (("--resume", "out/final"), "is no checkpoint: those are called checkpoint-<step>"),
    "not there": (("--resume", "out/checkpoint-1"), "does not exist"),
    "no directory": (("--resume", "auto"), "needs to know where the checkpoints are. Name it with --output-dir."),
    "another rate": ((*SHORT, *AGAIN, "--set", "train.lr=3e-4"), "train.lr = 3e-4 is not what out/checkpoint-49 was"),
    "another model": ((*SHORT, *AGAIN, "--set", "model=opt-125m"), "model = 'opt-125m' is not what out/checkpoint-49"),
    "another seed": ((*SHORT, *AGAIN, "--seed", "9"), "--seed: 9 is not what out/checkpoint-49 was made with, "),
    "another time": ((*SHORT, *AGAIN, "--start-time", "2027-01-01"), "is not when the run in out/checkpoint-49 began"),
    "fewer steps": ((*SHORT, *AGAIN, "--max-steps", "10"), "--max-steps: 10 is before step 49 of out/checkpoi"),
    "not asked": (SHORT, "--output-dir: out holds another run. Go on with it with --resume auto, or name another"),
}


@pytest.mark.parametrize("mistake", REFUSALS)
def test_mistakes_are_refused_and_nothing_is_touched(mistake: str, copy: Path) -> None:
    before = files(copy)
    arguments, reason = REFUSALS[mistake]
    done = go(copy.parent, *arguments, *FAST)
    assert (done.returncode, done.stdout) == (2, "")
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
    assert files(copy) == before


def test_every_key_that_differs_is_named(copy: Path) -> None:
    done = go(copy.parent, *SHORT, *FAST, *AGAIN, "--set", "train.lr=3e-4", "--set", "cluster.ambient_c=30")
    assert [line.split(" =")[0].split(": ")[-1] for line in done.stderr.splitlines()] == [
        "cluster.ambient_c", "train.lr",
    ]  # fmt: skip


def test_harmless_differences_are_none(copy: Path) -> None:
    changed = ("--set", "log.every=3", "--set", "checkpoint.keep_last=1", "--set", "checkpoint.on_preempt=exit")
    done = go(copy.parent, *SHORT, *FAST, *AGAIN, *changed)
    assert (done.returncode, done.stderr) == (0, "")


# --- Told to end ----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_preempted_run_saves_its_last_step_and_goes_on(number: int, never_told: Path, tmp_path: Path) -> None:
    code, said = tell_after_step(tmp_path, 1, number, *LONG, *STANDING)
    last = said.splitlines()[-1]
    assert code == 143
    assert last.startswith("Terminated: epoch 1/2, step ")
    assert "saved out/checkpoint-" in said
    names = [path.name for path in (tmp_path / "out").iterdir() if path.name.startswith("checkpoint-")]
    assert len(names) == 1
    assert json.loads((tmp_path / "out" / names[0] / "run_state.json").read_text())["planned"] is False
    done = go(tmp_path, *LONG, *FAST, *AGAIN)
    assert f"Going on from out/{names[0]}" in done.stdout
    assert metrics(tmp_path / "out")[1:] == metrics(never_told)[1:]  # the first holds the speed
    assert not (tmp_path / "out" / names[0]).exists()  # a planned one has taken its place


def test_run_that_is_told_to_end_before_it_has_loaded_its_checkpoint_names_it(copy: Path) -> None:
    slow = ("--set", "run.startup_speed=0.01")
    code, said = _signalled(
        copy.parent,
        lambda lines: any("Loading model" in line for line in lines),
        signal.SIGTERM,
        (*SHORT, *slow, *AGAIN),
    )
    known = re.findall(r"Going on from (\S+)", said)
    assert code == 143
    assert known == ["out/checkpoint-49"]
    assert said.splitlines()[-1] == (
        "Terminated: before the first step | last checkpoint out/checkpoint-49 | out/checkpoint-49 is already there"
    )


def test_preempted_run_can_be_told_to_save_nothing(tmp_path: Path) -> None:
    alone = ("--set", "checkpoint.on_preempt=exit")
    code, said = tell_after_step(tmp_path, 1, signal.SIGTERM, *LONG, *STANDING, *alone)
    assert code == 143
    assert "saved" not in said.splitlines()[-1]
    assert not list((tmp_path / "out").glob("checkpoint-*"))


# --- Out of disk ----------------------------------------------------------------------------------


def test_full_disk_ends_the_run_and_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    size = "size=400k"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", tmp_path], capture_output=True).returncode:
        pytest.skip("may not mount a tmpfs")
    try:
        done = go(tmp_path, *SHORT, *FAST)
        assert done.returncode == 1
        assert "could not be written: No space left on device" in done.stderr
        assert "Traceback" not in done.stderr
        newest = max((tmp_path / "out").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
        assert f"{newest.name} is intact: put things right and go on with --resume auto." in done.stderr
        assert not list((tmp_path / "out").glob(".tmp-*"))
        assert all(json.loads(line) for line in (tmp_path / "out/metrics.jsonl").read_text().splitlines())
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


def test_directory_that_vanishes_ends_the_run(tmp_path: Path) -> None:
    arguments = (*SHORT, "--set", "run.speed=4", "--set", "run.startup_speed=1000")
    with WarmTrain(arguments, os.environ, tmp_path) as process:
        process.read_until("step 1 |")
        shutil.rmtree(tmp_path / "out")
        assert process.wait() == 1
    assert "its directory has gone" in process.stderr
    assert not (tmp_path / "out").exists()


def test_without_an_output_directory_not_one_byte_is_written(tmp_path: Path) -> None:
    without = [argument for argument in SHORT if argument not in ("--output-dir", "out")]
    assert go(tmp_path, *without, *FAST).returncode == 0
    assert list(tmp_path.iterdir()) == []
