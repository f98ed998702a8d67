"""Signals that reach more than the launcher, come more than once, or ask for no end: ranks have the time to save."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.launched import Jobs, RunningJob
from tests.support.processes import until

SAVES = """
import os, signal, sys, time
def say(text): os.write(1, text.encode() + b"\\n")  # print may not be called while it is interrupted
def save(number, frame):
    say(f"asked by {number}")
    while not os.path.exists("release"): time.sleep(0.005)
    say("saved")
    sys.exit(0)
def checkpoint(number, frame):
    say("checkpoint")
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT): signal.signal(number, save)
for number in (signal.SIGUSR1, signal.SIGUSR2): signal.signal(number, checkpoint)
say("up")
while not os.path.exists("release"): time.sleep(0.005)
for number in (signal.SIGUSR1, signal.SIGUSR2): signal.signal(number, signal.SIG_IGN)  # one that comes while it ends
"""
ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


def send_to_all(job: RunningJob, number: int) -> None:
    """Send the signal to every process of a job, as Slurm, systemd and ``pkill -f`` do."""
    for pid in (job.pid, *job.agents, *job.ranks):
        os.kill(pid, number)


def release(jobs: Jobs) -> None:
    (jobs.directory / "release").touch()


def signal_line(pid: int, name: str) -> int:
    """A mask of /proc/PID/status."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition(f"{name}:")[2].split()[0], 16)


@pytest.mark.parametrize("number", ENDS)
@pytest.mark.parametrize("flags", [("--nproc-per-node", "2"), ("--nnodes", "2", "--nproc-per-node", "1")])
def test_a_signal_to_every_process_lets_the_ranks_save(jobs: Jobs, number: int, flags: tuple[str, ...]) -> None:
    job = jobs.start(SAVES, *flags)
    job.wait_for("up", 2)
    send_to_all(job, number)
    job.wait_for(f"asked by {number}", 2)
    until(lambda: job.err.count("closing signal") == 2, "the signal passed on")
    release(jobs)
    ended = job.end()
    assert (ended.code, ended.lines.count("saved")) == (1, 2), ended.err


def test_ranks_of_fresh_interpreters_save_as_well(jobs: Jobs) -> None:
    job = jobs.start(SAVES, "--nproc-per-node", "2", "--start-method", "spawn")
    job.wait_for("up", 2)
    send_to_all(job, signal.SIGTERM)
    job.wait_for("asked by 15", 2)
    release(jobs)
    assert job.end().lines.count("saved") == 2


def test_sigterm_twice_is_no_hurry(jobs: Jobs) -> None:
    """Slurm sends it twice within 60 ms."""
    job = jobs.start(SAVES, "--nproc-per-node", "2")
    job.wait_for("up", 2)
    os.kill(job.pid, signal.SIGTERM)
    job.wait_for("asked by 15", 2)
    os.kill(job.pid, signal.SIGTERM)
    until(lambda: not signal_line(job.pid, "ShdPnd"), "the second one taken")
    os.kill(job.pid, signal.SIGUSR1)
    job.wait_for("checkpoint", 2)  # the launcher has come to what was sent after it
    release(jobs)
    ended = job.end()
    assert (ended.code, ended.lines.count("saved")) == (1, 2), ended.err
    assert "again" not in ended.err


def test_two_interrupts_at_once_are_one(jobs: Jobs) -> None:
    """``timeout -s INT`` signals its child, and then its group, which has the child in it."""
    job = jobs.start(SAVES, "--nproc-per-node", "2", LOGLEVEL="INFO")
    job.wait_for("up", 2)
    (agent,) = job.agents
    os.kill(agent, signal.SIGSTOP)  # so no rank has got the first one when the second one comes
    for _ in range(2):
        os.kill(job.pid, signal.SIGINT)
        until(lambda: not signal_line(job.pid, "ShdPnd"), "taken")
    os.kill(job.pid, signal.SIGUSR1)
    until(lambda: "passed on" in job.err, "the launcher has come to what was sent after them")
    os.kill(agent, signal.SIGCONT)
    job.wait_for("asked by 2", 2)
    release(jobs)
    assert job.end().lines.count("saved") == 2


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
@pytest.mark.parametrize("to_all", [False, True])
def test_a_signal_that_asks_for_no_end_is_passed_on(jobs: Jobs, number: int, to_all: bool) -> None:
    """``#SBATCH --signal=USR1@60``: the script saves, and the job goes on."""
    job = jobs.start(SAVES, "--nnodes", "2", "--nproc-per-node", "1", LOGLEVEL="INFO")
    job.wait_for("up", 2)
    if to_all:
        send_to_all(job, number)
    else:
        os.kill(job.pid, number)
    job.wait_for("checkpoint", 2)
    until(lambda: "passed on to the workers" in job.err, "it is said")
    assert job.process.poll() is None
    release(jobs)
    assert job.end().code == 0


@pytest.fixture
def ignored_hangup() -> Iterator[None]:
    """Children of this process ignore SIGHUP, as under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("ignored_hangup")
def test_a_hangup_that_was_ignored_stays_ignored(new_jobs: Jobs) -> None:
    script = """
import os, signal, time
print("up", signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)
while not os.path.exists("release"): time.sleep(0.005)
"""
    job = new_jobs.start(script, "--nproc-per-node", "2")
    job.wait_for("up True", 2)
    send_to_all(job, signal.SIGHUP)
    release(new_jobs)
    assert job.end().code == 0


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_rank_sees_nothing_of_its_agent(jobs: Jobs, method: str) -> None:
    script = """
import signal
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines())
print(status["Name"], *(int(status[name], 16) for name in ("SigBlk", "SigPnd", "ShdPnd")))
"""
    flags = ["--start-method", "spawn"] if method == "spawn" else []
    ended = jobs.run(script, "--nnodes", "2", "--nproc-per-node", "1", *flags)
    assert {line.split()[0].startswith("python") for line in ended.lines} == {True}, ended.lines
    assert [line.split()[1:] for line in ended.lines] == [["0", "0", "0"]] * 2


def test_signals_that_are_blocked_for_the_launcher_are_so_for_ranks(new_jobs: Jobs) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM, signal.SIGUSR2])
    try:
        job = new_jobs.start("import signal; print(*sorted(signal.pthread_sigmask(0, [])))", "--nproc-per-node", "2")
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    wanted = " ".join(str(int(number)) for number in sorted({*before, signal.SIGALRM, signal.SIGUSR2}))
    assert job.end().lines == [wanted] * 2


# -- what runs below a rank -------------------------------------------------------------------------------------------

WRAPPERS = {
    "a shell that waits": "#!/bin/sh\n{python} saves.py\necho ended\n",
    "a shell with its child in the background": "#!/bin/sh\n{python} saves.py &\nwait\n",
    "a shell that traps": "#!/bin/sh\ntrap 'echo trapped' TERM\n{python} saves.py\n",
    "a job of its own": "#!/bin/bash\nset -m\n{python} saves.py &\nwait\n",
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_what_a_rank_has_started_gets_the_signal_and_the_grace(jobs: Jobs, wrapper: str) -> None:
    (jobs.directory / "saves.py").write_text(SAVES)
    (jobs.directory / "run.sh").write_text(WRAPPERS[wrapper].format(python=f"{sys.executable} -u"))
    (jobs.directory / "run.sh").chmod(0o755)
    job = RunningJob(jobs.directory, ["--nproc-per-node", "2", "--no-python", "./run.sh"], {}, None)
    try:
        job.wait_for("up", 2)
        os.kill(job.pid, signal.SIGTERM)
        job.wait_for("asked by 15", 2)
        until(lambda: job.err.count("closing signal") == 2, "the signal passed on")
        time.sleep(1.2)  # longer than what is left behind after an orderly end has
        release(jobs)
        ended = job.end()
    finally:
        job.clean_up()
    assert (ended.code, ended.lines.count("saved"), ended.lines.count("asked by 15")) == (1, 2, 2), ended.out


def test_what_a_rank_has_started_is_killed_after_the_grace(jobs: Jobs) -> None:
    script = """
import os, subprocess, sys
child = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", child]).wait()
"""
    job = jobs.start(script, "--nproc-per-node", "2", "--shutdown-timeout", "1")
    job.wait_for("up", 2)
    os.kill(job.pid, signal.SIGTERM)
    ended = job.end()
    assert ended.code == 1 and 1.0 <= ended.wall_s < 20


DETACHED = """
import os, signal, subprocess, sys, time
upload = "import os, time\\nwhile not os.path.exists('release'): time.sleep(0.005)\\nopen('uploaded', 'w').close()"
quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
subprocess.Popen([sys.executable, "-c", upload], start_new_session=True, **quiet)
print("up")
"""


@pytest.mark.parametrize("ending", ["orderly", "failure", "signal", "killed"])
def test_a_process_that_was_detached_outlives_the_job(jobs: Jobs, ending: str) -> None:
    script = DETACHED + {"orderly": "", "failure": "sys.exit(3)"}.get(ending, "time.sleep(600)")
    job = jobs.start(script)
    job.wait_for("up")
    if ending in ("signal", "killed"):
        os.kill(job.pid, signal.SIGTERM if ending == "signal" else signal.SIGKILL)
    codes = {"orderly": 0, "killed": -signal.SIGKILL}
    assert job.process.wait(60) == codes.get(ending, 1)
    release(jobs)
    until((jobs.directory / "uploaded").exists, "the upload ends")
    job.assert_nothing_left()


def test_the_next_attempt_does_not_wait_for_what_was_detached(jobs: Jobs) -> None:
    again = "count = int(os.environ['TORCHELASTIC_RESTART_COUNT'])\nprint('attempt', count)\nsys.exit(count == 0)"
    job = jobs.start(DETACHED + again, "--max-restarts", "1")
    assert job.process.wait(60) == 0, job.err
    assert "attempt 1" in job.out
    release(jobs)
    job.assert_nothing_left()
