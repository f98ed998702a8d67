"""``fake-torchrun ... train.py``: the launcher and the training together, as a user types it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import children_of, until
from tests.support.repository import ROOT

DEADLINE_S = 90.0
RUN = (
    "--config", str(ROOT / "configs/debug.yaml"), "--start-time", "2026-01-01", "--set", "checkpoint.every=5",
    "--set", "checkpoint.shards=tiny", "--set", "log.every=1",
)  # fmt: skip


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "fake_torch_dist.run", *arguments]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def test_a_killed_rank_costs_a_restart_and_nothing_else(tmp_path: Path) -> None:
    """The metrics are those of a run that was never killed, byte for byte."""
    alone = [sys.executable, str(ROOT / "train.py"), *RUN, "--speed", "max", "--output-dir", str(tmp_path / "alone")]
    shape = ("--set", "cluster.nodes=2", "--set", "cluster.gpus_per_node=2")
    subprocess.run([*alone, *shape], check=True, stdout=subprocess.DEVNULL, timeout=DEADLINE_S, cwd=tmp_path)
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
    done = subprocess.run(
        command(*flags, str(ROOT / "train.py"), "--set", "train.peak_rl=3"), env=environment(), cwd=tmp_path,
        capture_output=True, text=True, timeout=DEADLINE_S,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.count("train.peak_rl") == 1
