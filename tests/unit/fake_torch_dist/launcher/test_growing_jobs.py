"""A node that comes to an elastic job that runs is taken in: the ranks start again, with it."""

from __future__ import annotations

import os
import signal
import socket

import pytest

from tests.support.launched import Jobs, RunningJob
from tests.support.processes import until

MEETS = """
import os, sys, time
import numpy as np
import fake_torch_dist as dist
dist.init_process_group("gloo")
total = np.ones(1)
dist.all_reduce(total)
print("world", int(total[0]), "restarts", os.environ["TORCHELASTIC_RESTART_COUNT"])
while int(total[0]) < int(sys.argv[1]) and not os.path.exists("release"): time.sleep(0.005)
dist.destroy_process_group()
"""


@pytest.fixture
def port() -> int:
    """One that is free now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        found: int = sock.getsockname()[1]
        return found


def node(jobs: Jobs, port: int, script: str, size: int, *flags: str, nnodes: str = "1:3") -> RunningJob:
    """One of the job, whose ranks stay until their world has this size."""
    endpoint = ["--rdzv-backend", "c10d", "--rdzv-id", "grows", "--rdzv-endpoint", f"localhost:{port}"]
    conf = ["--rdzv-conf", "last_call_timeout=0"]
    return jobs.start(script, "--nnodes", nnodes, *endpoint, *conf, *flags, arguments=(str(size),), LOGLEVEL="INFO")


def test_ranks_start_again_with_a_node_that_comes_later(jobs: Jobs, port: int) -> None:
    first = node(jobs, port, MEETS, 3, "--max-restarts", "0")
    first.wait_for("world 1 restarts 0")
    second = node(jobs, port, MEETS, 3)
    second.wait_for("world 2 restarts 0")
    third = node(jobs, port, MEETS, 3)
    ended = [command.end() for command in (first, second, third)]
    assert [command.code for command in ended] == [0, 0, 0], [command.err for command in ended]
    assert ended[0].lines == [f"world {size} restarts 0" for size in (1, 2, 3)]
    assert (ended[1].lines, ended[2].lines) == (ended[0].lines[1:], ended[0].lines[2:])
    assert "the job starts again in a larger world" in ended[0].err
    assert not any("FAILED" in command.err or "failed (exitcode" in command.err for command in ended)


def test_a_node_comes_back_after_it_was_lost(jobs: Jobs, port: int) -> None:
    commands = [node(jobs, port, MEETS, 9, "--max-restarts", "2", nnodes="1:2")]
    commands[0].wait_for("world 1 restarts 0")
    commands.append(node(jobs, port, MEETS, 9, "--max-restarts", "2", nnodes="1:2"))
    commands[0].wait_for("world 2 restarts 0")
    host = commands[0]
    commands[1].process.kill()
    host.wait_for("world 1 restarts 1")
    again = node(jobs, port, MEETS, 9, "--max-restarts", "2", nnodes="1:2")
    again.wait_for("world 2 restarts 1")
    (jobs.directory / "release").touch()
    assert (host.end().code, again.end().code) == (0, 0)


def test_a_node_that_comes_when_the_ranks_end_gets_the_jobs_exit_code(jobs: Jobs, port: int) -> None:
    """The ranks of the first node have ended, so nothing starts again; those of the second decide."""
    script = MEETS + "while os.environ['RANK'] == '1' and not os.path.exists('end'): time.sleep(0.005)\n"
    first = node(jobs, port, script, 2)
    first.wait_for("world 1")
    second = node(jobs, port, script, 2)
    second.wait_for("world 2")
    until(lambda: "worker group successfully finished" in first.err, "the first node's ranks ended")
    third = node(jobs, port, script, 2)
    until(lambda: "3 of 1:3 nodes are there" in first.err, "the third has come")
    (jobs.directory / "end").touch()
    ended = [command.end() for command in (first, second, third)]
    assert [command.code for command in ended] == [0, 0, 0], [command.err for command in ended]
    assert ended[2].lines == []


def test_a_signal_while_the_world_grows_ends_the_job(jobs: Jobs, port: int) -> None:
    script = """
import os, signal, sys, time
def stay(number, frame):
    print("told", number)
    while not os.path.exists("release"): time.sleep(0.005)
    sys.exit(0)
for number in (signal.SIGTERM, signal.SIGINT): signal.signal(number, stay)
print("up")
while True: time.sleep(0.005)
"""
    first = node(jobs, port, script, 9)
    first.wait_for("up")
    second = node(jobs, port, script, 9)
    first.wait_for("told 15")
    os.kill(first.pid, signal.SIGINT)
    first.wait_for("told 2")
    (jobs.directory / "release").touch()
    assert (first.end().code, second.end().code) == (1, 1)
    assert "up" not in second.out
