"""Whoever is killed, whenever: soon nothing of the job is left."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress

import pytest

from tests.support.launched import Jobs, RunningJob
from tests.support.processes import until

BUSY = """
import os, subprocess, sys, time
import numpy as np
import fake_torch_dist as dist
child = subprocess.Popen(["sleep", "600"])
print("up")
dist.init_process_group("gloo")
print("met")
while True:
    dist.all_reduce(np.ones(1000))
"""
VICTIMS = ("launcher", "agent", "rank")


def kill(job: RunningJob, victim: str, draw: random.Random) -> None:
    """SIGKILL; a victim that is not there yet is the launcher."""
    agents, ranks = job.agents, job.ranks
    pid = job.pid
    if victim == "agent" and agents:
        pid = draw.choice(agents)
    elif victim == "rank" and ranks:
        pid = draw.choice(ranks)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_killed_process_takes_the_job_with_it(jobs: Jobs, victim: str) -> None:
    job = jobs.start(BUSY, "--nnodes", "2", "--nproc-per-node", "2")
    job.wait_for("met", 4)
    kill(job, victim, random.Random(0))
    assert job.end().code == (-signal.SIGKILL if victim == "launcher" else 1)


RANK_0_KILLS_ITS_AGENT = """
import os, signal, time
if os.environ["RANK"] == "0" and os.fork():
    os.kill(os.getppid(), signal.SIGKILL)
time.sleep(600)
"""


def test_an_agent_that_is_killed_while_it_starts_ranks_leaves_none_of_their_programs(jobs: Jobs) -> None:
    """The first of a batch of ranks does its worst, while the last ones are still being forked."""
    assert jobs.run(RANK_0_KILLS_ITS_AGENT, "--nproc-per-node", "16").code == 1


def test_a_stopped_agent_does_not_keep_the_job_alive(jobs: Jobs) -> None:
    job = jobs.start(BUSY, "--nnodes", "2", "--nproc-per-node", "1")
    job.wait_for("met", 2)
    os.kill(job.agents[0], signal.SIGSTOP)
    job.process.kill()
    job.process.wait()
    job.assert_nothing_left()


@pytest.mark.slow
def test_a_stopped_agent_does_not_keep_the_launcher_waiting(jobs: Jobs) -> None:
    job = jobs.start(BUSY, "--nnodes", "2", "--nproc-per-node", "1", "--shutdown-timeout", "0")
    job.wait_for("met", 2)
    os.kill(job.agents[0], signal.SIGSTOP)
    os.kill(job.pid, signal.SIGTERM)
    assert job.end().code == 1


def test_a_killed_agents_node_starts_again(jobs: Jobs) -> None:
    script = "import os, time\nprint('attempt', os.environ['TORCHELASTIC_RESTART_COUNT'])\n" + (
        "if os.environ['TORCHELASTIC_RESTART_COUNT'] == '0': time.sleep(600)"
    )
    job = jobs.start(script, "--nnodes", "2", "--nproc-per-node", "2", "--max-restarts", "1")
    job.wait_for("attempt 0", 4)
    os.kill(job.agents[1], signal.SIGKILL)
    ended = job.end()
    assert (ended.code, ended.out.count("attempt 1")) == (0, 4), ended.err


def kill_at_random_moments(jobs: Jobs, seed: int, times: int) -> None:
    draw = random.Random(seed)
    for _ in range(times):
        job = jobs.start(BUSY, "--nnodes", "2", "--nproc-per-node", "2", "--max-restarts", str(draw.choice([0, 1])))
        time.sleep(draw.uniform(0.0, 0.8))  # any moment is right
        victim = draw.choice(VICTIMS)
        kill(job, victim, draw)
        if victim != "launcher" and job.process.poll() is None:
            # With a restart left the job goes on; then the launcher goes, too.
            until(lambda job=job: "Sending" in job.err or job.process.poll() is not None, "the failure seen")
            job.process.kill()
        job.end()


def test_nothing_is_left_whatever_is_killed_whenever(jobs: Jobs) -> None:
    kill_at_random_moments(jobs, seed=1, times=8)


@pytest.mark.slow
def test_nothing_is_left_after_a_hundred_random_moments(jobs: Jobs) -> None:
    kill_at_random_moments(jobs, seed=2, times=100)
