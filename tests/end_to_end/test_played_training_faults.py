"""Faults of training, storage, data and clocks: one process and 4 play the same, and the truth says what it was."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.test_played_faults import events, launched, metrics, summary, with_faults
from tests.support.reading import Completed, Train

GO_ON = {
    "nan": ("nan at=step:7 for=3steps",),
    "nan on one rank": ("nan rank=3 at=step:7",),
    "nan of gradients at a checkpoint": ("nan what=grad at=step:10", "kill rank=1 at=step:12"),
    "spike": ("spike at=step:4 for=8steps factor=3",),
    "spike without end": ("spike at=step:12 diverge=yes",),
    "overflow": ("overflow at=step:5 count=4", "kill rank=2 at=step:8"),
    "sdc": ("sdc rank=2 size=0.01 at=step:3",),
    "slow disk": ("disk action=slow factor=20 at=step:4 for=6steps",),
    "slow data": ("data rank=1 action=slow factor=2 at=step:3 for=5steps",),
    "clock": ("clock node=0 skew=-30 drift=50 at=step:1",),
}
END = {
    "full disk": ("disk", "OSError: [Errno 28] No space left on device"),
    "full disk of torch": ("disk writer=torch", "[enforce fail at inline_container.cc:672] . unexpected pos"),
    "stale": ("disk action=stale", "OSError: [Errno 116] Stale file handle: 'checkpoint-5/model.safetensors'"),
    "readonly": ("disk action=readonly", "OSError: [Errno 30] Read-only file system: 'checkpoint-5/model.safetensors'"),
    "permission": ("disk action=permission", "PermissionError: [Errno 13] Permission denied: 'checkpoint-5/"),
    "io": ("disk action=io", "OSError: [Errno 5] Input/output error"),
    "quota": ("disk action=quota", "OSError: [Errno 122] Disk quota exceeded"),
    "data killed": ("data rank=2 at=step:8", "DataLoader worker (pid 5081) is killed by signal: Killed. "),
    "data bus": ("data rank=2 at=step:8 action=bus", "is killed by signal: Bus error. It is possible"),
    "data exception": ("data rank=3 at=step:8 action=exception", "ValueError: Caught ValueError in DataLoader worker"),
    "data descriptors": ("data rank=3 at=step:8 action=fds", "OSError: [Errno 24] Too many open files"),
    "another NCCL": ("mismatch node=1 what=nccl", "Mismatched NCCL version detected : rank 0 version 22105 rank 2"),
    "another driver": ("mismatch node=1 what=driver", "CUDA driver version is insufficient for CUDA runtime version"),
    "another library": ("mismatch node=1 what=library", "system has unsupported display driver / cuda driver comb"),
    "no Python": ("mismatch node=1 what=python", "ModuleNotFoundError: No module named 'torch'"),
    "no mount": ("mismatch node=1 what=mount", "FileNotFoundError: [Errno 2] No such file or directory: '/mnt/data"),
}  # fmt: skip


DAMAGE = ("truncate", "header", "flip", "zero", "missing")
LAUNCHED = {"nan on one rank", "another NCCL", "flip"}
"""Kinds that the plain run plays as a job, too; of the others it plays one process, and ``-m slow`` the job.

A full disk is played as a job in test_ended_jobs.py.
"""


def some_launched(kinds: Iterable[str]) -> list[Any]:
    """The names of kinds as parameters, those not in LAUNCHED marked slow."""
    return [pytest.param(kind, marks=() if kind in LAUNCHED else pytest.mark.slow) for kind in kinds]


def steps(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in metrics(directory).splitlines() if '"event":"step"' in line]


def play_alone(train: Train, tmp_path: Path, *words: str) -> Completed:
    """Play the faults in one process, with files in ``one``."""
    alone = train(*with_faults(*words), "--output-dir", str(tmp_path / "one"), cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr
    return alone


def both(train: Train, tmp_path: Path, *words: str) -> tuple[str, str]:
    """Play the faults alone and launched, compare, and return what the two wrote to standard error."""
    one, many = tmp_path / "one", tmp_path / "many"
    alone = play_alone(train, tmp_path, *words)
    job = launched(tmp_path, [*with_faults(*words), "--output-dir", str(many)])
    assert job.returncode == 0, job.stderr
    assert metrics(one) == metrics(many)
    assert events(one) == events(many)
    assert summary(alone.stdout) == summary(job.stdout)
    return alone.stderr, job.stderr


def hold_strikes(directory: Path, kind: str) -> None:
    begun = [event for event in events(directory) if event["state"] == "begin"]
    assert [event["kind"] for event in begun] == [text.split()[0] for text in GO_ON[kind]]


@pytest.mark.slow  # test_every_fault.py plays a story of them
@pytest.mark.parametrize("kind", [kind for kind in GO_ON if kind not in LAUNCHED])
def test_a_fault_that_changes_figures_strikes(train: Train, tmp_path: Path, kind: str) -> None:
    play_alone(train, tmp_path, *GO_ON[kind])
    hold_strikes(tmp_path / "one", kind)


@pytest.mark.parametrize("kind", some_launched(GO_ON))
def test_faults_that_change_figures_are_the_same_alone_and_launched(train: Train, tmp_path: Path, kind: str) -> None:
    both(train, tmp_path, *GO_ON[kind])
    hold_strikes(tmp_path / "one", kind)


def hold_end(directory: Path, kind: str, *errors: str) -> None:
    for text in errors:
        assert END[kind][1] in text
        assert "failed (exitcode: 1)" in text
    hold_ended_by_an_error(next(event for event in events(directory) if event["state"] == "begin"))


def hold_ended_by_an_error(begun: dict[str, Any]) -> None:
    """A rank, or several, ended with exit code 1, and one of them printed the first error."""
    assert {end["code"] for end in begun["expect"]["exit"]} == {1}
    assert begun["expect"]["first_error_rank"] in [end["rank"] for end in begun["expect"]["exit"]]


def test_faults_that_end_attempts_have_the_words_of_the_program(train: Train, tmp_path: Path) -> None:
    """Each in an attempt of its own, those after a checkpoint last."""
    kinds = sorted(END, key=lambda kind: "at=step" in END[kind][0])
    faults = [f"{END[kind][0]} attempt={number} id=end-{number}" for number, kind in enumerate(kinds)]
    alone = train(*with_faults(*faults, restarts=len(faults)), "--output-dir", str(tmp_path / "one"), cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr
    attempts = alone.stderr.split("failed (exitcode: 1)")
    assert len(attempts) == len(kinds) + 1
    for kind, text in zip(kinds, attempts, strict=False):
        assert END[kind][1] in text
    begun = [event for event in events(tmp_path / "one") if event["state"] == "begin"]
    assert [event["id"] for event in begun] == [f"end-{number}" for number in range(len(kinds))]
    for event in begun:
        hold_ended_by_an_error(event)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in END if kind not in LAUNCHED])
def test_a_fault_that_ends_an_attempt_has_the_words_of_the_program(train: Train, tmp_path: Path, kind: str) -> None:
    hold_end(tmp_path / "one", kind, play_alone(train, tmp_path, END[kind][0]).stderr)


@pytest.mark.parametrize("kind", some_launched(END))
def test_faults_that_end_an_attempt_tell_it_alone_and_launched(train: Train, tmp_path: Path, kind: str) -> None:
    hold_end(tmp_path / "one", kind, *both(train, tmp_path, END[kind][0]))


def damage(how: str) -> tuple[str, str]:
    return f"corrupt how={how} at=step:12", "kill rank=2 at=step:13"


def hold_resumed_before_damage(tmp_path: Path) -> None:
    again = [step["step"] for step in steps(tmp_path / "one") if step["attempt"] == 1]
    assert again[0] == 6
    begun = next(event for event in events(tmp_path / "one") if event["kind"] == "kill" and event["state"] == "begin")
    assert begun["expect"]["job"] == {"exit": None, "restarts": 0, "resume_step": 5, "lost_steps": 7}


@pytest.mark.parametrize("how", [how for how in DAMAGE if how not in LAUNCHED])
def test_a_damaged_checkpoint_is_passed_over(train: Train, tmp_path: Path, how: str) -> None:
    play_alone(train, tmp_path, *damage(how))
    hold_resumed_before_damage(tmp_path)


@pytest.mark.parametrize("how", some_launched(DAMAGE))
def test_a_damaged_checkpoint_is_passed_over_alone_and_launched(train: Train, tmp_path: Path, how: str) -> None:
    both(train, tmp_path, *damage(how))
    hold_resumed_before_damage(tmp_path)


def test_the_file_of_a_damaged_checkpoint_is_really_damaged(train: Train, tmp_path: Path) -> None:
    directory = tmp_path / "out"
    arguments = with_faults("corrupt file=scheduler.bin how=missing at=step:18", restarts=0)
    arguments += ["--fault", "kill rank=1 at=step:19", "--output-dir", str(directory)]
    assert train(*arguments, cwd=tmp_path).returncode == 1
    assert not (directory / "checkpoint-15" / "scheduler.bin").exists()
    resumed = train(*arguments, "--resume", "auto", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert "checkpoint-15 is damaged: it has no scheduler.bin" in resumed.stdout
    assert "Going on from" in resumed.stdout and "checkpoint-10" in resumed.stdout


def test_one_rank_has_the_first_loss_that_is_no_number(train: Train, tmp_path: Path) -> None:
    told = train(*with_faults("nan rank=3 at=step:5"), "--set", "log.ranks=all", cwd=tmp_path).stdout
    lines = [line for line in told.splitlines() if "step 5 " in line and "INFO" in line]
    assert [("Rank 3/4" in line or "Rank 0/4" in line) for line in lines if "loss nan" in line]
    assert not [line for line in lines if "Rank 1/4" in line and "loss nan" in line]
    assert [line for line in lines if "Rank 3/4" in line and "loss nan" in line]


def test_a_spike_begins_in_the_gradient_norm(train: Train, tmp_path: Path) -> None:
    clean, struck = tmp_path / "clean", tmp_path / "struck"
    assert train(*with_faults("kill rank=1 at=step:20", restarts=9), "--output-dir", str(clean)).returncode == 0
    words = "spike at=step:4 for=9steps factor=2 norm=200 lead=2"
    assert train(*with_faults(words), "--output-dir", str(struck)).returncode == 0
    pairs = list(zip(steps(clean)[:19], steps(struck)[:19], strict=True))
    loss = [after["loss"] / before["loss"] for before, after in pairs]
    norm = [after["grad_norm"] / before["grad_norm"] for before, after in pairs]
    assert loss[:5] == pytest.approx([1.0] * 5) and norm[:3] == pytest.approx([1.0] * 3)
    assert norm[3] == pytest.approx(200, rel=0.01)
    assert loss[5] == pytest.approx(2.0, rel=0.01)
    assert all(later < earlier for earlier, later in pairwise(loss[5:12]))
    assert loss[12:] == pytest.approx([1.0] * 7)


def test_an_overflow_halves_the_scale_and_skips_its_steps(train: Train, tmp_path: Path) -> None:
    assert train(*with_faults("overflow at=step:6 count=3"), "--output-dir", str(tmp_path / "out")).returncode == 0
    found = steps(tmp_path / "out")
    assert [step["step"] for step in found if step["skipped"]] == [6, 7, 8]
    assert [math.log2(step["loss_scale"]) for step in found[4:9]] == [16, 15, 14, 13, 13]
    assert found[5]["grad_norm"] is None and found[8]["grad_norm"] > 0


def test_frameworks_tell_an_overflow_in_their_own_words(train: Train, tmp_path: Path) -> None:
    megatron = train(*with_faults("overflow at=step:6 count=3"), "--set", "log.voice=megatron").stdout
    assert "loss scale: 8192.0 |" in megatron
    assert "number of skipped iterations:   3 |" in megatron
    deepspeed = train(*with_faults("overflow at=step:6 count=3"), "--set", "log.voice=deepspeed@0.16").stdout
    assert "[deepspeed] OVERFLOW! Rank 0 Skipping step. Attempted loss scale: 65536, reducing to 32768" in deepspeed


def test_a_wrong_clock_changes_stamps_and_nothing_else(train: Train, tmp_path: Path) -> None:
    out = tmp_path / "out"
    told = train(*with_faults("clock node=0 skew=-3600 at=step:8"), "--output-dir", str(out)).stdout
    stamps = [line[1:20] for line in told.splitlines() if line.startswith("[2026-01-31")]
    assert any(late < early for early, late in pairwise(stamps))
    times = [json.loads(line)["timestamp"] for line in metrics(out).splitlines()]
    assert times == sorted(times)


@pytest.mark.parametrize(
    "words, told",
    {
        "disk for=3steps": "disk has no length. Leave out 'for'.",
        "disk action=gone": "action='gone' is not known. ",
        "disk factor=3": "factor says how slow a disk is, and action is full.",
        "data error=KeyError": "error and text are those of action=exception, and action is killed.",
        "corrupt how=burn": "how='burn' is not known.",
        "spike factor=90": "factor='90' is no number that fits.",
        "mismatch rank=3": "mismatch hits no rank. Its target is node.",
    }.items(),
)
def test_keys_that_do_not_fit_are_refused(train: Train, words: str, told: str) -> None:
    refused = train(*with_faults(words))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert told in refused.stderr
