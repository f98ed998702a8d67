"""A job of 64 that is killed: how long it really takes to end and to start again; one process tells the same."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.benchmarks.restart_bench import TRAINING, TRAINING_AGAIN, restart_of
from tests.support.repository import ROOT

pytestmark = pytest.mark.slow
LIMIT_S = 240.0
LAUNCH = ("--nnodes", "8", "--nproc-per-node", "8", "--max-restarts", "1")
RUN = (
    "--config", str(ROOT / "configs/debug.yaml"), "--speed", "max", "--no-progress", "--set", "cluster.nodes=8",
    "--set", "cluster.gpus_per_node=8", "--set", "train.global_batch=512", "--start-time", "2026-01-31T09:30:00",
    "--set", "faults.restarts=1", "--set", "checkpoint.shards=tiny", "--fault", "kill rank=13 at=step:15",
)  # fmt: skip
HANGING_S = 60.0
"""A limit that only a job that hangs exceeds."""


def moments(directory: Path) -> dict[str, float]:
    """Real second of each line that matters of a job of 64, counted from its start."""
    found: dict[str, float] = {}
    process = subprocess.Popen(
        [sys.executable, "-m", "fake_torch_dist.run", *LAUNCH, str(ROOT / "train.py"), *RUN],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, cwd=directory, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    begin_s = time.monotonic()
    assert process.stdout
    try:
        for line in process.stdout:
            for name, text in {"killed": r"closing signal", "failed": r"failed \(exitcode: -9\)"}.items():
                if re.search(text, line):
                    found.setdefault(name, time.monotonic() - begin_s)
        assert process.wait(LIMIT_S) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    return found


def test_a_job_of_64_is_gone_in_a_moment(tmp_path: Path) -> None:
    when = moments(tmp_path)
    print(f"\n64 ranks, from the end of one to that of all: {when['failed'] - when['killed']:.2f} s (goal 2 s)")
    assert when["failed"] - when["killed"] < HANGING_S


def test_a_job_of_64_is_back_in_a_moment() -> None:
    restart = restart_of((1, 64), TRAINING, TRAINING_AGAIN)
    print(f"\n64 ranks, from the end of one to the first step of the next attempt: {restart.wall_s:.2f} s (goal 1 s),")
    print(f"{restart.cpu_s:.2f} s of processor time")
    assert restart.wall_s < HANGING_S


def test_a_job_of_64_and_one_process_tell_the_same_story(tmp_path: Path) -> None:
    found = []
    for name, launcher in {"one": (), "many": ("-m", "fake_torch_dist.run", *LAUNCH)}.items():
        directory = tmp_path / name
        command = [sys.executable, *launcher, str(ROOT / "train.py"), *RUN, "--output-dir", str(directory)]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT_S, cwd=tmp_path)
        assert run.returncode == 0, run.stderr[-2000:]
        truth = [json.loads(line) for line in (directory / "faults.jsonl").read_text().splitlines()]
        metrics = (directory / "metrics.jsonl").read_text().replace(str(directory), "DIR")
        found.append((metrics, [{key: value for key, value in event.items() if key != "wall"} for event in truth]))
    assert found[0] == found[1]
