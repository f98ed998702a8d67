"""The reader of the output often ends by what ends the job: then the ranks keep the time that they were given."""

from __future__ import annotations

import os
import pty
import signal
from pathlib import Path

import pytest

from tests.support.launched import Jobs, RunningJob
from tests.support.processes import until

SAVES = """
import os, signal, sys, time
def save(number, frame):
    open(f"asked.{os.environ['RANK']}.{number}", "w").close()
    while not os.path.exists("release"): print("saving"); time.sleep(0.005)
    open("saved." + os.environ["RANK"], "w").close()
    sys.exit(0)
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(number, save)
open("up." + os.environ["RANK"], "w").close()
while True: time.sleep(0.005)
"""


def files(directory: Path, pattern: str) -> list[str]:
    return sorted(path.name for path in directory.glob(pattern))


def let_them_save(jobs: Jobs, job: RunningJob, number: int) -> None:
    """All ranks were asked by this signal only, and save."""
    until(lambda: len(files(jobs.directory, "asked.*")) >= 2, "all asked")
    until(lambda: "Nobody reads" in job.err or job.err.count("closing signal") == 2, "the signal passed on")
    (jobs.directory / "release").touch()
    assert job.end().code == 1
    assert files(jobs.directory, "asked.*") == [f"asked.{rank}.{int(number)}" for rank in (0, 1)]
    assert files(jobs.directory, "saved.*") == ["saved.0", "saved.1"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("reader_first", [False, True])
def test_a_reader_that_ends_with_the_same_signal_hurries_nobody(jobs: Jobs, number: int, reader_first: bool) -> None:
    """``fake-torchrun ... | tee log`` and Ctrl-C."""
    read_end, write_end = os.pipe()
    job = jobs.start(SAVES, "--nproc-per-node", "2", stdout=write_end)
    os.close(write_end)
    until(lambda: len(files(jobs.directory, "up.*")) == 2, "all up")
    if reader_first:
        os.kill(job.pid, signal.SIGSTOP)  # both happen before it can look
        os.close(read_end)
        os.kill(job.pid, number)
        os.kill(job.pid, signal.SIGCONT)
    else:
        os.kill(job.pid, number)
        until(lambda: files(jobs.directory, "asked.*"), "one asked")
        os.close(read_end)
    let_them_save(jobs, job, number)


def test_a_terminal_that_is_closed_hurries_nobody(jobs: Jobs) -> None:
    master, slave = pty.openpty()
    job = jobs.start(SAVES, "--nproc-per-node", "2", stdout=slave)
    os.close(slave)
    until(lambda: len(files(jobs.directory, "up.*")) == 2, "all up")
    os.kill(job.pid, signal.SIGHUP)
    os.close(master)
    let_them_save(jobs, job, signal.SIGHUP)


def test_a_job_whose_failure_is_read_by_nobody_is_not_restarted(jobs: Jobs) -> None:
    script = """
import os, signal, sys, time
rank = os.environ["RANK"]
def stay(number, frame):
    open("told", "w").close()
    while not os.path.exists("release"): time.sleep(0.005)
    sys.exit(1)
signal.signal(signal.SIGTERM, stay)
open(f"up.{rank}.{os.environ['TORCHELASTIC_RESTART_COUNT']}", "w").close()
while rank == "1" or not os.path.exists("up.1.0"): time.sleep(0.005)
sys.exit(3)
"""
    read_end, write_end = os.pipe()
    job = jobs.start(script, "--nproc-per-node", "2", "--max-restarts", "5", stdout=write_end)
    os.close(write_end)
    until((jobs.directory / "told").exists, "the peer is being ended")
    os.close(read_end)
    until(lambda: "Nobody reads" in job.err, "the reader's end seen")
    (jobs.directory / "release").touch()
    assert job.end().code == 1
    assert files(jobs.directory, "up.*") == ["up.0.0", "up.1.0"]
