"""Commands to a run that is under way: it is listed, paused, made faster, and given a fault, by its own user alone."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from accelerate_sim.testing.cluster import FakeCluster
from tests.support.launched import RunningJob
from tests.support.live_control import ctl, user_in
from tests.support.processes import until
from tests.support.repository import ROOT
from tests.support.warm_train import WarmTrain, run_warm

LIMIT_S = 60
SLOW = (
    "--config", str(ROOT / "configs/debug.yaml"), "--start-time", "2026-01-31T09:30:00", "--no-progress",
    "--set", "checkpoint.shards=tiny", "--set", "run.speed=0.05", "--set", "run.startup_speed=max",
)  # fmt: skip


@pytest.fixture
def user(tmp_path: Path) -> dict[str, str]:
    return user_in(tmp_path)


BEGUN = "Training gpt2"
"""Text that a run prints before its first step; left alone, it takes minutes to the last."""


@pytest.fixture
def run(user: dict[str, str], tmp_path: Path) -> Iterator[WarmTrain]:
    """A run that has begun, and that plays faults."""
    words = [*SLOW, "--set", "faults.drawn=play", "--set", "faults.rate=0", "--output-dir", "out"]
    with WarmTrain(words, user, tmp_path, merged=True) as process:
        process.read_until(BEGUN)
        yield process


def test_a_run_is_listed_and_its_socket_is_its_users_alone(run: WarmTrain, user: dict[str, str]) -> None:
    listed = ctl(user, "list")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert re.fullmatch(rf"{run.pid}  gpt2  step \d+ of 20  4 ranks  speed 0\.05\n", listed.stdout)
    socket = Path(user["XDG_RUNTIME_DIR"], "fake-torchrun", f"control-{run.pid}.sock")
    assert stat.S_IMODE(socket.stat().st_mode) == 0o600
    run.send_signal(signal.SIGTERM)
    run.wait()
    assert not socket.exists()
    assert ctl(user, "list").stdout == ""


def test_a_pause_holds_the_run_and_a_speed_lets_it_end(run: WarmTrain, user: dict[str, str]) -> None:
    assert "paused" in ctl(user, "pause").stdout
    assert "  paused\n" in ctl(user, "list").stdout
    assert ctl(user, "speed", "max").returncode == 0
    time.sleep(0.2)  # it would be over by then
    run.read_what_is_there()
    assert run.returncode is None
    assert ctl(user, "resume").stdout == "goes on\n"
    assert run.wait() == 0
    assert "Training finished successfully" in run.stdout


def test_a_fault_that_is_asked_for_strikes_and_is_in_the_ground_truth(
    run: WarmTrain, user: dict[str, str], tmp_path: Path
) -> None:
    ctl(user, "pause")
    assert ctl(user, "fault", "slow gpu=0:1 at=now factor=2 for=4steps").stdout.startswith("slow-1 strikes in step ")
    asked = ctl(user, "fault", "kill rank=3 at=step:13")
    assert (asked.returncode, asked.stdout) == (0, "kill-2 strikes in step 13\n")
    ctl(user, "speed", "max")
    ctl(user, "resume")
    assert run.wait() == 0, run.stdout
    assert "Attempt 2: the launcher has restarted the job" in run.stdout
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
    run: WarmTrain, user: dict[str, str], words: tuple[str, ...], told: str
) -> None:
    refused = ctl(user, *words)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert told in refused.stderr


def test_a_run_without_faults_says_how_to_have_them(user: dict[str, str], tmp_path: Path) -> None:
    with WarmTrain(SLOW, user, tmp_path) as process:
        process.read_until(BEGUN)
        refused = ctl(user, "fault", "kill rank=1 at=now")
    assert refused.returncode == 2
    assert "this run plays no faults. Start it with --set faults.drawn=play" in refused.stderr
    assert ctl(user, "pause").stderr.startswith("fake-torchrun ctl: no run of yours waits for its clock.")


def test_a_launched_job_is_paused_by_its_first_rank(user: dict[str, str], tmp_path: Path) -> None:
    words = ["--nnodes", "2", "--nproc-per-node", "2", str(ROOT / "train.py"), *SLOW]
    job = RunningJob(tmp_path, words, user, None, training=True)
    try:
        job.wait_for(BEGUN)
        assert "4 ranks" in ctl(user, "list").stdout
        assert ctl(user, "pause").returncode == 0
        assert ctl(user, "list").stdout.endswith("paused\n")
        assert "this run plays no faults" in ctl(user, "fault", "kill rank=1 at=now").stderr
        ctl(user, "speed", "max")
        assert ctl(user, "resume").returncode == 0
        ended = job.end()
        assert ended.code == 0, ended.out + ended.err
    finally:
        job.clean_up()


def steps_of(directory: Path) -> list[str]:
    return [line for line in (directory / "metrics.jsonl").read_text().splitlines() if '"event":"step"' in line]


def changes_of(directory: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (directory / "faults.jsonl").read_text().splitlines()]


def test_a_fault_that_is_asked_for_is_known_to_a_run_that_is_resumed(
    run: WarmTrain, user: dict[str, str], tmp_path: Path
) -> None:
    ctl(user, "pause")
    assert ctl(user, "fault", "slow gpu=0:1 at=step:13 factor=2 for=4steps").returncode == 0
    assert "  paused  fault slow-1 in step 13\n" in ctl(user, "list").stdout
    run.send_signal(signal.SIGTERM)
    run.wait()
    play = ["--set", "faults.drawn=play", "--set", "faults.rate=0", "--speed", "max"]
    for directory, words in (
        ("out", ["--resume", "auto"]),
        ("as planned", ["--fault", "slow gpu=0:1 at=step:13 factor=2 for=4steps"]),
    ):
        words = [*SLOW, *play, *words, "--output-dir", directory]
        done = run_warm(words, user, tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    assert steps_of(tmp_path / "out") == steps_of(tmp_path / "as planned")
    begun_at = [(change["id"], change["step"]) for change in changes_of(tmp_path / "out") if change["state"] == "begin"]
    assert begun_at == [("slow-1", 13)]


@pytest.mark.slow
def test_a_launched_job_takes_faults_which_strike_in_the_right_process(tmp_path: Path) -> None:
    """Those of a later attempt are known to its processes, which start anew."""
    arguments = [*SLOW[2:], "--set", "faults.drawn=play", "--set", "faults.rate=0", "--set", "run.speed=0.1"]
    with FakeCluster(tmp_path, 2, 2, arguments=arguments, max_restarts=1) as job:
        job.wait_for("Training gpt2")
        control(job, "pause")
        with pytest.raises(RuntimeError, match=r"rank 9 of 4 does not exist\. The ranks are 0 to 3"):
            job.inject("kill rank=9 at=now")
        with pytest.raises(RuntimeError, match="mismatch strikes while a job starts"):
            job.inject("mismatch node=1")
        with pytest.raises(RuntimeError, match="kill-1 would strike in the past"):
            job.inject("kill rank=1 at=step:1")
        job.inject("exit rank=3 code=7 at=now")
        job.inject("slow gpu=0:1 attempt=1 at=step:17 factor=2 for=2steps")
        assert "  fault exit-1 in step " in control(job, "list")
        control(job, "speed", "max")
        control(job, "resume")
        job.wait_for("Attempt 2: ")  # at the speed of the config again
        until(lambda: ctl(of(job), "speed", "max").returncode == 0, "the next attempt takes commands")
        assert job.exit_code == 0, job.stderr
        assert re.search(r"failed \(exitcode: 7\) local_rank: 1 ", job.stderr)
        truth = job.truth
    begun_in = {change["id"]: (change["attempt"], change["target"]) for change in truth if change["state"] == "begin"}
    assert begun_in["exit-1"][0] == 0 and begun_in["exit-1"][1]["ranks"] == [3]
    assert begun_in["slow-2"][0] == 1 and begun_in["slow-2"][1]["gpus"][0]["index"] == 1
    assert [change["id"] for change in truth if change["state"] == "recovered"] == ["exit-1"]


def of(job: FakeCluster) -> dict[str, str]:
    """The environment in which commands find a job."""
    return os.environ | {"XDG_RUNTIME_DIR": str(job.runtime_directory)}


def control(job: FakeCluster, *words: str) -> str:
    done = ctl(of(job), *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_run_that_can_be_asked_for_faults_is_like_any_other_until_it_is(user: dict[str, str], tmp_path: Path) -> None:
    fast = (*SLOW, "--set", "run.speed=1e6", "--output-dir", "out")
    shown = []
    for name, words in (("clean", fast), ("asked", (*fast, "--set", "faults.asked=true"))):
        (tmp_path / name).mkdir()
        done = run_warm(words, user, tmp_path / name)
        assert (done.returncode, done.stderr) == (0, "")
        metrics = (tmp_path / name / "out" / "metrics.jsonl").read_text().splitlines()
        shown.append((done.stdout, metrics[1:], (tmp_path / name / "out" / "faults.jsonl").read_text()))
    assert shown[0] == shown[1]


def test_a_run_takes_faults_where_its_config_says_so(user: dict[str, str], tmp_path: Path) -> None:
    with WarmTrain([*SLOW, "--set", "faults.asked=true"], user, tmp_path) as process:
        process.read_until(BEGUN)
        asked = ctl(user, "fault", "kill rank=1 at=now")
    assert asked.stdout.startswith("kill-1 strikes in step ")
