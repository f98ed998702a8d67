"""Runs in which faults happen: one process and 4 really tell the same story, and faults.jsonl is what happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.reading import Completed, Train
from tests.support.repository import ROOT
from tests.support.warm_launcher import run_launcher
from tests.support.warm_train import WarmTrain

DEADLINE_S = 120.0
RUN = (
    "--config", str(ROOT / "configs/debug.yaml"), "--speed", "max", "--start-time", "2026-01-31T09:30:00",
    "--no-progress", "--set", "checkpoint.shards=tiny", "--set", "cluster.nodes=2", "--set", "cluster.gpus_per_node=2",
    "--set", "checkpoint.every=5", "--set", "checkpoint.keep_last=2",
)  # fmt: skip


def with_faults(*words: str, restarts: int = 3) -> list[str]:
    faults = [argument for text in words for argument in ("--fault", text)]
    return [*RUN, *faults, "--set", f"faults.restarts={restarts}"]


def launched(cwd: Path, arguments: list[str], restarts: int = 3) -> subprocess.CompletedProcess[str]:
    flags = ["--nnodes", "2", "--nproc-per-node", "2", "--max-restarts", str(restarts), "--shutdown-timeout", "2"]
    environ = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return run_launcher([*flags, str(ROOT / "train.py"), *arguments], cwd=cwd, env=environ, timeout=DEADLINE_S)


def events(directory: Path, *, without_wall: bool = True) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (directory / "faults.jsonl").read_text().splitlines()]
    return [{key: value for key, value in event.items() if key != "wall" or not without_wall} for event in found]


def metrics(directory: Path) -> str:
    return (directory / "metrics.jsonl").read_text().replace(str(directory), "DIR")


def summary(output: str) -> list[list[str]]:
    """The words of each row in the last table of a run, without the place of the model."""
    table = output[output.rindex("╭") : output.rindex("╯")]
    return [line.split() for line in table.splitlines() if line.startswith("│") and "Saved to" not in line]


SLOW_GPU = "slow gpu=0:1 factor=1.5 at=step:4 for=3steps"
KINDS = {
    "kill": ("kill rank=3 at=step:13", -9),
    "kill by another signal": ("kill rank=0 at=step:8 signal=SEGV", -11),
    "raise": ("raise rank=2 at=step:12 error=ValueError text='a bad batch'", 1),
    "exit": ("exit rank=1 at=phase:eval code=7", 7),
    "oom": ("oom rank=2 at=step:12", 1),
    "hostoom": ("hostoom node=1 at=phase:checkpoint:2", -9),
    "hang": ("hang rank=1 at=step:13", -6),
    "nodefail": ("nodefail node=1 at=step:7", -9),
}


LAUNCHED = {"kill"}
"""Kinds that the plain run plays as a job, too; of the others it plays one process, and ``-m slow`` the job.

test_fault_claims.py plays one story of all of them as a job.
"""


def play_alone(train: Train, tmp_path: Path, kind: str) -> Completed:
    """Play a fault of a kind in one process, with files in ``one``, and hold its story against its claims."""
    words, exitcode = KINDS[kind]
    one = tmp_path / "one"
    alone = train(*with_faults(words, SLOW_GPU), "--output-dir", str(one), cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr
    assert f"failed (exitcode: {exitcode})" in alone.stderr
    assert "Attempt 2: the launcher has restarted the job" in alone.stdout
    begun = next(event for event in events(one) if event["state"] == "begin" and event["kind"] != "slow")
    codes = {end["code"] for end in begun["expect"]["exit"]}
    assert codes == {exitcode}
    assert begun["expect"]["job"]["restarts"] == 0
    steps = [json.loads(line) for line in metrics(one).splitlines() if '"event":"step"' in line]
    again = [step["step"] for step in steps if step["attempt"] == 1]
    assert again[0] == begun["expect"]["job"]["resume_step"] + 1
    assert len(steps) == 20 + begun["expect"]["job"]["lost_steps"]
    return alone


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in LAUNCHED])
def test_one_process_tells_the_story_of_all_ranks(train: Train, tmp_path: Path, kind: str) -> None:
    play_alone(train, tmp_path, kind)


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=() if kind in LAUNCHED else pytest.mark.slow) for kind in KINDS]
)
def test_one_process_and_many_tell_the_same_story(train: Train, tmp_path: Path, kind: str) -> None:
    alone = play_alone(train, tmp_path, kind)
    words, exitcode = KINDS[kind]
    one, many = tmp_path / "one", tmp_path / "many"
    job = launched(tmp_path, [*with_faults(words, SLOW_GPU), "--output-dir", str(many)])
    assert job.returncode == 0, job.stderr
    assert metrics(one) == metrics(many)
    assert events(one) == events(many)
    assert summary(alone.stdout) == summary(job.stdout)
    assert f"failed (exitcode: {exitcode})" in job.stderr


def test_a_fault_of_the_start_up_strikes_in_its_phase(train: Train, tmp_path: Path) -> None:
    """The lines of what comes before it are printed, those of what comes after are not."""
    one, many = tmp_path / "one", tmp_path / "many"
    arguments = with_faults(
        "kill rank=1 at=phase:launch", "raise rank=2 at=phase:load attempt=1", "kill rank=3 at=step:7 attempt=2",
        "exit rank=1 code=7 at=phase:nccl attempt=3", "slow gpu=0:1 at=phase:warmup attempt=4 for=3steps", restarts=4,
    )  # fmt: skip
    alone = train(*arguments, "--output-dir", str(one), cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr
    job = launched(tmp_path, [*arguments, "--output-dir", str(many)], restarts=4)
    assert job.returncode == 0, job.stderr
    assert metrics(one) == metrics(many)
    assert events(one) == events(many)
    assert summary(alone.stdout) == summary(job.stdout)
    begun = [event["phase"] for event in events(one) if event["state"] == "begin"]
    assert begun == ["launch", "load", "backward", "nccl", "warmup"]
    signs = ("Loading model", "Model initialized", "Distributed environment", "All-reduce test", "step 5 |")
    for output in (alone.stdout, job.stdout):
        attempts = output.split("the launcher has restarted the job")
        assert [[sign in attempt for sign in signs].index(False) for attempt in attempts[:2]] == [0, 1]
        assert [sign in attempts[3] for sign in signs] == [True, True, False, False, False]
        assert all(sign in attempts[2] for sign in signs) and all(sign in attempts[4] for sign in signs[:4])


def test_without_a_directory_the_launcher_keeps_the_state(train: Train, tmp_path: Path) -> None:
    arguments = with_faults("kill rank=3 at=step:13", "kill rank=0 at=step:17")
    alone, job = train(*arguments, cwd=tmp_path), launched(tmp_path, arguments)
    assert (alone.returncode, job.returncode) == (0, 0), alone.stderr + job.stderr
    assert summary(alone.stdout) == summary(job.stdout)
    assert "Attempts          3" in alone.stdout
    assert "Attempt 3: the launcher has restarted the job" in job.stdout
    assert not list(tmp_path.iterdir())


def test_a_gpu_that_is_gone_for_good_ends_a_job_without_a_directory(train: Train, tmp_path: Path) -> None:
    arguments = with_faults("kill rank=1 at=step:4", "lost gpu=0:1 back=ever at=step:13")
    for ended in (train(*arguments, cwd=tmp_path), launched(tmp_path, arguments)):
        assert ended.returncode == 1
        assert "Attempt 2" in ended.stdout and "Attempt 3" not in ended.stdout
        assert "ChildFailedError" in ended.stderr


def test_a_job_whose_restarts_are_used_up_ends_as_torchrun_ends(train: Train, tmp_path: Path) -> None:
    arguments = [*with_faults("kill rank=1 at=step:12 times=always", restarts=1), "--set", "log.every=1"]
    alone, job = train(*arguments, cwd=tmp_path), launched(tmp_path, arguments, restarts=1)
    for ended in (alone, job):
        assert ended.returncode == 1
        assert "ChildFailedError" in ended.stderr
        assert "  rank      : 1 (local_rank: 1)\n  exitcode  : -9 (pid: " in ended.stderr
        assert "Signal 9 (SIGKILL) received by PID" in ended.stderr
    assert job.stdout.count("[Rank 2/4] INFO step 11 on node1 ") == 2, "the last line of each rank is written"


def test_a_preempted_job_saves_its_last_step_and_goes_on_from_there(train: Train, tmp_path: Path) -> None:
    one, many = tmp_path / "one", tmp_path / "many"
    arguments = with_faults("preempt at=step:14")
    alone = train(*arguments, "--output-dir", str(one), cwd=tmp_path)
    job = launched(tmp_path, [*arguments, "--output-dir", str(many)])
    assert (alone.returncode, job.returncode) == (1, 1)
    assert "SignalException" in alone.stderr
    assert metrics(one) == metrics(many)
    assert events(one) == events(many)
    for directory in (one, many):
        assert (directory / "checkpoint-13").is_dir()
        again = train(*RUN[2:], "--resume", "auto", "--output-dir", str(directory), cwd=tmp_path)
        assert again.returncode == 0, again.stderr
        assert "checkpoint-13" in again.stdout
    assert metrics(one) == metrics(many)


FIRST, FURTHER = ["Attempt 2", "step 15 |"], ["step 5 |", "Resumed after step 5", "Attempt 3"]


@pytest.mark.parametrize("after", [*FIRST, *(pytest.param(text, marks=pytest.mark.slow) for text in FURTHER)])
def test_a_session_that_is_killed_knows_which_faults_are_past(train: Train, tmp_path: Path, after: str) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    arguments = with_faults("kill rank=2 at=step:8", "slow gpu=0:1 factor=1.5 at=step:12 for=4steps",
                            "kill rank=3 at=step:18")  # fmt: skip
    assert train(*arguments, "--output-dir", str(whole), cwd=tmp_path).returncode == 0
    slower = [*arguments]
    slower[slower.index("--speed") + 1] = "400"
    with WarmTrain([*slower, "--output-dir", str(cut)], dict(os.environ), tmp_path) as process:
        process.read_until(after)
        os.kill(process.pid, signal.SIGKILL)
    again = train(*arguments, "--resume", "auto", "--output-dir", str(cut), cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert metrics(cut).replace('"speed":400.0', '"speed":"max"') == metrics(whole)
    assert sorted(map(str, events(cut))) == sorted(map(str, events(whole)))


def test_a_clean_run_says_that_nothing_happened(train: Train, tmp_path: Path) -> None:
    assert train(*RUN, "--output-dir", str(tmp_path / "clean"), cwd=tmp_path).returncode == 0
    assert events(tmp_path / "clean") == [{"event": "faults", "count": 0, "simulated": True, "schema": 1}]
    assert "attempt" not in (tmp_path / "clean" / "metrics.jsonl").read_text().replace("attempts", "")


def test_mistakes_are_refused_with_their_place(train: Train, tmp_path: Path) -> None:
    config = tmp_path / "faults.yaml"
    base = (ROOT / "configs/debug.yaml").read_text()
    config.write_text(f"{base}\nfaults:\n  play:\n    - kill rank=1 at=step:3\n    - {{kind: kill, rank: 9}}\n")
    line = 1 + next(number for number, text in enumerate(config.read_text().splitlines()) if "rank: 9" in text)
    wrong = train("--config", str(config), "--plan")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == f"{config}:{line}: rank 9 of 4 does not exist. The ranks are 0 to 3.\n"
    for words, told in {
        "kil rank=3": "'kil' is no kind of fault. Did you mean 'kill'?",
        "kill rank=3 at=step:99": "step 99 never comes: the run has 20 steps. Use a step from 1 to 20.",
        "kill rank=3 at=time:3h": "3h never comes: the run ends after",
        "kill rank=3 after=nobody": "after='nobody' is no fault here.",
    }.items():
        refused = train(*RUN, "--fault", words, "--output-dir", str(tmp_path / "never"))
        assert (refused.returncode, refused.stdout) == (2, "")
        assert refused.stderr.startswith(f"--fault: {told}")
    assert not (tmp_path / "never").exists()


def test_the_plan_lists_what_happens(train: Train) -> None:
    plan = train(*with_faults("kill rank=3 at=step:13", "slow gpu=0:1 at=step:4 for=3steps"), "--plan")
    assert plan.returncode == 0, plan.stderr
    told = plan.stdout[plan.stdout.index("Faults that happen") :]
    assert "step 13 (backward" in told
    assert "kill-1, rank 3: the job goes on after step 10, 2 steps lost" in told
    assert "slow-2, rank 1: until step 6" in told
    assert "1 of 3 restarts, 2 steps lost" in told


def test_the_config_is_printed_in_canonical_words(train: Train, tmp_path: Path) -> None:
    printed = train(*with_faults("kill at=step:3 rank=1 times=1"), "--print-config").stdout
    assert '  play: ["kill rank=1 at=step:3 id=kill-1"]' in printed
    (tmp_path / "same.yaml").write_text(printed)
    assert train("--config", str(tmp_path / "same.yaml"), "--print-config").stdout == printed
