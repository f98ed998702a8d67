"""``fake-torchrun ... train.py``: the launcher and the training together, as a user types it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import children_of, until
from tests.support.repository import ROOT
from tests.support.warm_launcher import run_launcher
from tests.support.warm_train import run_warm

DEADLINE_S = 90.0
RUN = (
    "--config", str(ROOT / "configs/debug.yaml"), "--start-time", "2026-01-01", "--set", "checkpoint.every=5",
    "--set", "checkpoint.shards=tiny", "--set", "log.every=1",
)  # fmt: skip
LEFT = """
import json, os, runpy, sys
import accelerate_sim
before = set(sys.modules)
from fake_torch_dist.launcher.workers import ending
try:
    runpy.run_path(sys.argv.pop(1), run_name="__main__")
finally:
    imported = [name for name in sys.modules.keys() - before if name.split(".")[0] in ("accelerate_sim", "tqdm")]
    found = [ending._work_left(before).name, sorted(imported)]
    with open(os.environ["RANK"], "w") as file:
        json.dump(found, file)
"""
"""Plays the script that is its first argument, and writes down what is left for Python at the end of the process."""


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "fake_torch_dist.run", *arguments]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def test_a_killed_rank_costs_a_restart_and_nothing_else(tmp_path: Path) -> None:
    """The metrics are those of a run that was never killed, byte for byte."""
    alone = [*RUN, "--speed", "max", "--output-dir", str(tmp_path / "alone")]
    shape = ("--set", "cluster.nodes=2", "--set", "cluster.gpus_per_node=2")
    assert run_warm([*alone, *shape], os.environ, tmp_path).returncode == 0
    launched = command(
        "--nnodes", "2", "--nproc-per-node", "2", "--max-restarts", "1", str(ROOT / "train.py"), *RUN,
        "--set", "run.speed=4", "--set", "run.startup_speed=1000", "--output-dir", str(tmp_path / "launched"),
    )  # fmt: skip
    with subprocess.Popen(
        launched, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=tmp_path
    ) as job:
        assert job.stdout
        said = []
        for line in job.stdout:
            said.append(line)
            if "step 12 |" in line and not any("Attempt 2" in before for before in said):
                _kill_a_rank(job.pid)
        assert job.wait(DEADLINE_S) == 0, "".join(said[-20:])
    text = "".join(said)
    assert "Attempt 2: the launcher has restarted the job" in text
    assert "Going on from " in text and "checkpoint-10" in text
    one, other = ((tmp_path / name / "metrics.jsonl").read_text() for name in ("alone", "launched"))
    at_its_pace, at_once = '"speed":4.0,"startup_speed":1000.0', '"speed":"max","startup_speed":null'
    assert other.replace(at_its_pace, at_once).replace("/launched/", "/alone/") == one


def _kill_a_rank(launcher: int) -> None:
    os.kill(_last_child(_last_child(launcher)), signal.SIGKILL)


def _last_child(pid: int) -> int:
    until(lambda: children_of(pid), f"{pid} has children", DEADLINE_S)
    return children_of(pid)[-1]


@pytest.mark.parametrize("flags", [("--nproc-per-node", "4"), ("--nnodes", "2", "--nproc-per-node", "2")])
def test_a_mistake_in_the_config_is_said_once(flags: tuple[str, ...], tmp_path: Path) -> None:
    words = [*flags, str(ROOT / "train.py"), "--set", "train.peak_rl=3"]
    done = run_launcher(words, env=environment(), cwd=tmp_path, timeout=DEADLINE_S)
    assert done.returncode == 1
    assert done.stderr.count("train.peak_rl") == 1


@pytest.mark.parametrize(
    "words",
    [
        pytest.param((), id="clean"),
        pytest.param(("--fault", "nan at=step:7 for=3steps"), id="with a fault", marks=pytest.mark.slow),
    ],
)
def test_the_start_and_the_end_of_a_rank_are_short(words: tuple[str, ...], tmp_path: Path) -> None:
    """Its modules are imported before it is forked, and its end finalizes no interpreter, which copies its memory."""
    (tmp_path / "left.py").write_text(LEFT)
    flags = ("--nnodes", "2", "--nproc-per-node", "1", "left.py", str(ROOT / "train.py"), *RUN, "--speed", "max")
    done = subprocess.run(
        command(*flags, *words), env=environment(), cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE_S
    )
    assert done.returncode == 0, done.stderr
    (_, first), (left, other) = (json.loads((tmp_path / str(rank)).read_text()) for rank in range(2))
    assert left in ("NOTHING", "C_LIBRARIES")
    assert len(first) < 20  # files and tables are rank 0's
    assert not other
