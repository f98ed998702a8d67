"""Jobs that a scheduler ends, and machines that go: one process and 4 tell the same, and faults.jsonl is right."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.played_faults import FaultyRun, hold_claims, play_alone, play_launched
from tests.support.reading import Train

PREEMPTIONS = {
    "slurm, too late to save": ("preempt by=slurm grace=1s at=step:13", 10),
    "k8s, with time": ("preempt by=k8s at=step:13", 12),
    "spot, too late to save": ("preempt by=spot grace=1s at=step:13", 10),
    "limit, with much time": ("preempt by=limit grace=10m at=step:13", 12),
}
"""Words of a fault, and the last step that is saved."""
MACHINE_LOGS = {"k8s": "kubernetes.log", "spot": "instance.log"}


def played_twice(train: Train, directory: Path, *faults: str) -> tuple[FaultyRun, FaultyRun]:
    """The run in one process and as a job of 4, which agree."""
    one = play_alone(train, directory / "one", *faults)
    many = play_launched(directory / "many", *faults)
    assert one.returncode == many.returncode, one.stderr + many.stderr
    assert one.events == many.events
    assert one.metrics == many.metrics
    return one, many


AS_JOB = "k8s"
"""Scheduler whose preemption the plain run plays; test_every_fault.py plays all in one process."""


@pytest.mark.parametrize(
    "words, saved",
    [
        pytest.param(*case, id=name, marks=() if name.startswith(AS_JOB) else pytest.mark.slow)
        for name, case in PREEMPTIONS.items()
    ],
)
def test_a_preempted_job_saves_what_its_grace_allows(train: Train, tmp_path: Path, words: str, saved: int) -> None:
    scheduler = words.split()[1].removeprefix("by=")
    for run in played_twice(train, tmp_path, words):
        assert run.returncode == 1
        assert "SignalException" in run.stderr
        hold_claims(run)
        checkpoints = {int(path.name.removeprefix("checkpoint-")) for path in run.directory.glob("checkpoint-*")}
        assert max(checkpoints) == saved
        assert run.begun[0]["expect"]["job"]["exit"] == 1
        assert [event["state"] for event in run.events[-2:]] == ["detected", "end"]
        logs = {path.name for path in (run.directory / "nodes").glob("*/*.log")}
        assert logs == ({MACHINE_LOGS[scheduler]} if scheduler in MACHINE_LOGS else set())


def test_the_machine_of_rank_0_goes_and_comes_back(train: Train, tmp_path: Path) -> None:
    story = ("raise rank=3 at=step:3 error=BrokenPipeError", "raise rank=0 at=step:6 error=EOFError",
             "nodefail node=0 at=step:8")  # fmt: skip
    for run in played_twice(train, tmp_path, *story):
        assert run.returncode == 0, run.stderr
        hold_claims(run)
        assert [event["state"] for event in run.events if event["kind"] == "nodefail"] == [
            "planned", "begin", "symptom", "detected", "end", "recovered"
        ]  # fmt: skip
        lost = run.begun[-1]
        assert lost["target"]["ranks"] == [0, 1]
        assert [end["code"] for end in lost["expect"]["exit"]] == [-9, -9]
        assert lost["expect"]["job"]["resume_step"] == 5


@pytest.mark.parametrize("words", ["nodefail node=1 back=ever at=step:7", "lost node=0 back=ever at=step:7"])
def test_a_machine_that_never_comes_back_ends_the_job(train: Train, tmp_path: Path, words: str) -> None:
    one, many = played_twice(train, tmp_path, words, "kill rank=2 at=step:12")
    for run in (one, many):
        assert run.returncode == 1
        hold_claims(run)
        assert "ChildFailedError" in run.stderr
        assert run.events[-1]["state"] == "skipped"  # the second fault's
    host = run.begun[0]["target"]["nodes"][0]["host"]
    for run in (one, many):
        assert run.stderr.endswith(f"\nfake-torchrun: error: {host} is gone for good; "
                                   "no restart with 1 of 2 nodes (--nnodes)\n")  # fmt: skip


def test_a_gpu_that_never_comes_back_ends_the_job(train: Train, tmp_path: Path) -> None:
    """Restarts are left, and would not help."""
    for run in played_twice(train, tmp_path, "lost gpu=1:1 back=ever at=step:7", "kill rank=2 at=step:12"):
        assert run.returncode == 1
        hold_claims(run)
        assert "Attempt 2" not in run.stdout
        assert run.events[-1]["state"] == "skipped"  # the second fault's
        assert run.stderr.count("Root Cause") == 1
        root = run.stderr[run.stderr.index("Root Cause") :]
        assert "rank      : 3 (local_rank: 1)\n  exitcode  : 1 " in root
        assert set(root.splitlines()[-1]) == {"="}


def test_a_full_disk_leaves_a_part_that_nothing_resumes_from(train: Train, tmp_path: Path) -> None:
    for action in ("full", "io"):
        directory = tmp_path / action
        words = f"disk action={action} path=model.safetensors at=phase:checkpoint:2"
        cut = play_alone(train, directory, words, restarts=0)
        assert cut.returncode == 1
        part, whole = directory / ".tmp-checkpoint-10", directory / "checkpoint-5"
        sizes = [(path / "model.safetensors").stat().st_size for path in (part, whole)]
        assert sizes[0] == sizes[1] // 2 > 0
        assert not (part / "manifest.json").exists()
        again = play_alone(train, directory, words, restarts=0, more=["--resume", "auto"])
        assert again.returncode == 0, again.stderr
        assert "checkpoint-5" in again.stdout
        assert not part.exists()


def test_one_process_and_many_go_on_after_a_full_disk(train: Train, tmp_path: Path) -> None:
    for run in played_twice(train, tmp_path, "disk at=phase:checkpoint:3"):
        assert run.returncode == 0, run.stderr
        hold_claims(run)
        assert not list(run.directory.glob(".tmp-*"))
