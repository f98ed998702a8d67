"""Commands to a run that is under way: it is listed, paused, made faster, and given a fault, by its own user alone."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.repository import ROOT

LIMIT_S = 60
SLOW = (
    "--config", str(ROOT / "configs/debug.yaml"), "--start-time", "2026-01-31T09:30:00", "--no-progress",
    "--set", "checkpoint.shards=tiny", "--set", "run.speed=0.05", "--set", "run.startup_speed=max",
)  # fmt: skip


@pytest.fixture
def user(tmp_path: Path) -> dict[str, str]:
    """The environment of somebody whose runtime directory is empty."""
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    return os.environ | {"XDG_RUNTIME_DIR": str(runtime), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def begun(words: list[str], user: dict[str, str], cwd: Path) -> subprocess.Popen[str]:
    """A run that has come to its first step; left alone, it takes minutes to the last."""
    process = subprocess.Popen(
        [sys.executable, *words], cwd=cwd, env=user, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout
    for line in process.stdout:
        if "Training gpt2" in line:
            return process
    raise AssertionError("the run has ended")


@pytest.fixture
def run(user: dict[str, str], tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    words = [str(ROOT / "train.py"), *SLOW, "--set", "faults.drawn=play", "--set", "faults.rate=0"]
    process = begun([*words, "--output-dir", "out"], user, tmp_path)
    yield process
    process.kill()
    process.communicate()


def ctl(user: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fake_torch_dist.run", "ctl", *words], env=user, capture_output=True, text=True,
        timeout=LIMIT_S, check=False, cwd=user["XDG_RUNTIME_DIR"],
    )  # fmt: skip


def test_a_run_is_listed_and_its_socket_is_its_users_alone(run: subprocess.Popen[str], user: dict[str, str]) -> None:
    listed = ctl(user, "list")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert re.fullmatch(rf"{run.pid}  gpt2  step \d+ of 20  4 ranks  speed 0\.05\n", listed.stdout)
    socket = Path(user["XDG_RUNTIME_DIR"], "fake-torchrun", f"control-{run.pid}.sock")
    assert stat.S_IMODE(socket.stat().st_mode) == 0o600
    run.terminate()
    run.wait(LIMIT_S)
    assert not socket.exists()
    assert ctl(user, "list").stdout == ""


def test_a_pause_holds_the_run_and_a_speed_lets_it_end(run: subprocess.Popen[str], user: dict[str, str]) -> None:
    assert "paused" in ctl(user, "pause").stdout
    assert "  paused\n" in ctl(user, "list").stdout
    assert ctl(user, "speed", "max").returncode == 0
    time.sleep(0.2)  # it would be over by then
    assert run.poll() is None
    assert ctl(user, "resume").stdout == "goes on\n"
    told, _ = run.communicate(timeout=LIMIT_S)
    assert run.returncode == 0
    assert "Training finished successfully" in told


def test_a_fault_that_is_asked_for_strikes_and_is_in_the_ground_truth(
    run: subprocess.Popen[str], user: dict[str, str], tmp_path: Path
) -> None:
    ctl(user, "pause")
    assert ctl(user, "fault", "slow gpu=0:1 at=now factor=2 for=4steps").stdout.startswith("slow-1 strikes in step ")
    asked = ctl(user, "fault", "kill rank=3 at=step:13")
    assert (asked.returncode, asked.stdout) == (0, "kill-2 strikes in step 13\n")
    ctl(user, "speed", "max")
    ctl(user, "resume")
    told, _ = run.communicate(timeout=LIMIT_S)
    assert run.returncode == 0, told
    assert "Attempt 2: the launcher has restarted the job" in told
    events = [json.loads(line) for line in (tmp_path / "out" / "faults.jsonl").read_text().splitlines()]
    assert [event["id"] for event in events if event["state"] == "begin"] == ["slow-1", "kill-2"]
    assert [event["id"] for event in events if event["state"] == "recovered"] == ["kill-2"]


@pytest.mark.parametrize(
    "words, told",
    [
        (("fault", "kil rank=3"), "'kil' is no kind of fault. Did you mean 'kill'?"),
        (("fault", "kill rank=9 at=now"), "rank 9 of 4 does not exist. The ranks are 0 to 3."),
        (("fault", "kill rank=1 at=step:99"), "step 99 never comes: the run has 20 steps."),
        (("speed", "fast"), "speed 'fast' is no speed."),
    ],
)
def test_a_mistake_is_told_to_the_one_who_asks(
    run: subprocess.Popen[str], user: dict[str, str], words: tuple[str, ...], told: str
) -> None:
    refused = ctl(user, *words)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert told in refused.stderr


def test_a_run_without_faults_says_how_to_have_them(user: dict[str, str], tmp_path: Path) -> None:
    with begun([str(ROOT / "train.py"), *SLOW], user, tmp_path) as process:
        refused = ctl(user, "fault", "kill rank=1 at=now")
        process.kill()
    assert refused.returncode == 2
    assert "this run plays no faults. Start it with --set faults.drawn=play" in refused.stderr
    assert ctl(user, "pause").stderr.startswith("fake-torchrun ctl: no run of yours waits for its clock.")


def test_a_launched_job_is_paused_by_its_first_rank(user: dict[str, str], tmp_path: Path) -> None:
    words = ["-m", "fake_torch_dist.run", "--nnodes", "2", "--nproc-per-node", "2", str(ROOT / "train.py"), *SLOW]
    with begun(words, user, tmp_path) as job:
        assert "4 ranks" in ctl(user, "list").stdout
        assert ctl(user, "pause").returncode == 0
        assert ctl(user, "list").stdout.endswith("paused\n")
        assert "a launched job takes no fault while it runs" in ctl(user, "fault", "kill rank=1 at=now").stderr
        ctl(user, "speed", "max")
        assert ctl(user, "resume").returncode == 0
        told, _ = job.communicate(timeout=LIMIT_S)
        assert job.returncode == 0, told
