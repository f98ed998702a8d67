"""One command per node, as with torchrun: how nodes end and restart together. Here all of them on this host."""

from __future__ import annotations

import os
import re
import signal
import time
from functools import partial

import pytest

from tests.support.launched import Jobs, RunningJob
from tests.support.processes import until
from tests.support.several_hosts import (
    MEET,
    ONCE_MORE,
    STUBBORN,
    WAIT,
    all_up,
    c10d,
    failed,
    is_listening,
    static,
)


@pytest.mark.parametrize("bad", [0, 1])
def test_a_failure_on_one_node_ends_the_others_at_once(jobs: Jobs, port: int, bad: int) -> None:
    script = f"import os, time\nif os.environ['RANK'] == '{2 * bad + 1}': raise ValueError('boom')\ntime.sleep(600)"
    commands = [jobs.start(script, *static(i, port), "--nproc-per-node", "2") for i in (0, 1)]
    ended = failed(*commands)
    root = ended[bad].err[ended[bad].err.index("Root Cause") :]
    assert f"rank      : {2 * bad + 1} (local_rank: 1)" in root and "exitcode  : 1 " in root
    other = ended[1 - bad].err
    assert len(re.findall(r"exitcode  : -15 \(pid: \d+\)  \(SIGTERM\)", other)) == 2 and "boom" not in other
    elsewhere = other[other.index("Root Cause") :].split("\n")[1]
    assert re.match(rf"  <NOT_HERE>: rank {2 * bad + 1} \(local_rank: 1, pid: \d+\) on \S+ failed", elsewhere)
    assert "local_rank: 0 (pid" not in other
    assert re.search(rf"error: rank {2 * bad + 1} \(local_rank: 1, pid: \d+\) on \S+ failed \(exitcode: 1\)", other)
    assert "fake-torchrun: error" not in ended[bad].err


@pytest.mark.parametrize("victim", [0, 1])
def test_a_launcher_that_is_killed_ends_the_job(jobs: Jobs, port: int, victim: int) -> None:
    commands = [jobs.start(WAIT, *static(i, port), "--nproc-per-node", "2") for i in (0, 1)]
    all_up(2, *commands)
    commands[victim].process.kill()
    assert commands[victim].end().code == -signal.SIGKILL
    (other,) = failed(commands[1 - victim])
    assert "is gone" in other.err.splitlines()[-1]


def test_a_restart_is_of_all_nodes(jobs: Jobs, port: int) -> None:
    script = (
        MEET
        + """
import time
print("attempt", attempt := os.environ["TORCHELASTIC_RESTART_COUNT"])
if attempt == "0":
    if os.environ["RANK"] == "2": os.kill(os.getpid(), 9)
    time.sleep(600)
"""
    )
    commands = [jobs.start(script, *static(i, port), "--nproc-per-node", "2", "--max-restarts", "1") for i in (0, 1)]
    ended = [command.end() for command in commands]
    assert [command.code for command in ended] == [0, 0], [command.err for command in ended]
    assert [command.lines.count("attempt 1") for command in ended] == [2, 2]
    assert "ChildFailedError" not in ended[0].err + ended[1].err
    assert re.search(r"rank 2 .* failed \(exitcode: -9\): shutting down workers", ended[0].err)


def test_the_last_attempt_of_all_nodes_is_reported(jobs: Jobs, port: int) -> None:
    script = "import os, sys, time\nif os.environ['RANK'] == '1': sys.exit(5)\ntime.sleep(600)"
    ended = failed(*(jobs.start(script, *static(i, port), "--max-restarts", "2") for i in (0, 1)))
    assert ended[1].err.count("failed (exitcode: 5)") == 3
    assert ended[0].err.count("closing signal SIGTERM") == 3 and "exitcode  : -15" in ended[0].err


def kill_one_of_three(jobs: Jobs, port: int, nnodes: str, *more: str) -> tuple[RunningJob, RunningJob]:
    """All restart once; a node that does not host is killed in the first attempt. Returns the other two."""
    more = ("--max-restarts", "1", *more)
    host = jobs.start(ONCE_MORE, *c10d(port, nnodes, *more))
    until(lambda: is_listening(port), "the host listens")
    others = [jobs.start(ONCE_MORE, *c10d(port, nnodes, *more)) for _ in range(2)]
    all_up(1, host, *others)
    others[0].process.kill()
    others[0].end()
    return host, others[1]


def test_an_elastic_job_goes_on_without_a_node_that_is_gone(jobs: Jobs, port: int) -> None:
    for command in kill_one_of_three(jobs, port, "2:3"):
        ended = command.end()
        assert (ended.code, ended.lines) == (0, ["up 0 of 3", "up 1 of 2"]), ended.err


def test_too_few_nodes_are_no_job(jobs: Jobs, port: int) -> None:
    for ended in failed(*kill_one_of_three(jobs, port, "3", "--rdzv-conf", "join_timeout=10")):
        assert "no restart with 2 of 3 nodes (--nnodes)" in ended.err


def test_a_job_that_is_short_of_a_node_starts_again_when_one_comes(jobs: Jobs, port: int) -> None:
    host, other = kill_one_of_three(jobs, port, "3")
    until(lambda: "2 of 3 nodes are left: the ranks start again when others have come" in host.err, "it waits")
    again = jobs.start(ONCE_MORE, *c10d(port, "3", "--max-restarts", "1"))
    ended = [command.end() for command in (host, other, again)]
    assert [command.code for command in ended] == [0, 0, 0], [command.err for command in ended]
    assert [command.lines[-1] for command in ended] == ["up 1 of 3"] * 3


@pytest.mark.parametrize("told", [0, 1])
def test_a_signal_ends_the_wait_for_a_node_that_is_to_come_back(jobs: Jobs, port: int, told: int) -> None:
    both = kill_one_of_three(jobs, port, "3")
    until(lambda: "2 of 3 nodes are left" in both[0].err, "it waits")
    os.kill(both[told].pid, signal.SIGTERM)
    ended = failed(*both)
    assert "SignalException" in ended[told].err


def test_ranks_follow_the_names_of_hosts_and_the_order_of_commands(jobs: Jobs, port: int) -> None:
    """At a c10d endpoint the node that hosts stays the first; the others are sorted, however they come."""
    script = "import os; print(os.environ['GROUP_RANK'])"
    host = jobs.start(script, *c10d(port, "4"), "--local-addr", "z", LOGLEVEL="INFO")
    until(lambda: is_listening(port), "the host listens")

    def have_joined(count: int) -> bool:
        return f"{count} of 4 nodes" in host.err

    others = []
    for count, name in enumerate(("c", "b", "a"), 2):
        others.append(jobs.start(script, *c10d(port, "4"), "--local-addr", name))
        if count < 4:
            until(partial(have_joined, count), "it has joined")
    ended = [command.end() for command in (host, *others)]
    assert [command.lines for command in ended] == [["0"], ["3"], ["2"], ["1"]], [command.err for command in ended]


@pytest.mark.parametrize("told", [0, 1])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_one_launcher_ends_the_job_everywhere(jobs: Jobs, port: int, told: int, number: int) -> None:
    commands = [jobs.start(WAIT, *static(i, port)) for i in (0, 1)]
    all_up(1, *commands)
    os.kill(commands[told].pid, number)
    ended = failed(*commands)
    assert f"SignalException: Process {commands[told].pid} got signal: {int(number)}" in ended[told].err
    assert f"received {signal.Signals(number).name}: shutting down workers" in ended[1 - told].err
    assert "ChildFailedError" not in ended[0].err + ended[1].err


@pytest.mark.parametrize("told", [0, 1])
def test_a_second_signal_waits_for_nobody_on_any_node(jobs: Jobs, port: int, told: int) -> None:
    commands = [jobs.start(STUBBORN, *static(i, port)) for i in (0, 1)]
    all_up(1, *commands)
    os.kill(commands[told].pid, signal.SIGINT)
    until(lambda: all("closing signal SIGINT" in command.err for command in commands), "the first signal passed on")
    begin_s = time.monotonic()
    os.kill(commands[told].pid, signal.SIGINT)
    failed(*commands)
    assert time.monotonic() - begin_s < 15  # the grace is 30 s


def test_a_reader_that_goes_away_on_one_node_ends_the_job(jobs: Jobs, port: int) -> None:
    read_end, write_end = os.pipe()
    one = jobs.start(WAIT, *static(1, port), stdout=write_end)
    os.close(write_end)
    other = jobs.start(WAIT, *static(0, port))
    with open(read_end, "rb") as reader:
        assert reader.readline() == b"up 1\n"  # the whole line, else its rest may be what fails
    ended = failed(one, other)
    assert "nobody reads the output on" in ended[1].err


def test_ranks_that_ended_well_are_waited_for(jobs: Jobs, port: int) -> None:
    """A node that is done stays until the others are, and its exit code is the job's."""
    script = "import os, sys, time\nif os.environ['RANK'] == '1': sys.exit(0)\ntime.sleep(0.5); sys.exit(4)"
    ended = failed(*(jobs.start(script, *static(i, port)) for i in (0, 1)))
    assert "ChildFailedError" in ended[0].err and "ChildFailedError" not in ended[1].err
    assert "rank 0 (local_rank: 0, pid: " in ended[1].err


TORCH = """
import os, torch, torch.distributed as dist
dist.init_process_group("gloo")
total = torch.ones(1)
dist.all_reduce(total)
print(dist.get_rank(), dist.get_world_size(), int(total), os.environ["MASTER_PORT"], flush=True)
dist.destroy_process_group()
"""


@pytest.mark.real
@pytest.mark.parametrize("backend", ["static", "c10d"])
def test_a_real_torch_script_runs_over_two_commands(jobs: Jobs, port: int, backend: str) -> None:
    pytest.importorskip("torch")
    flags = [static(i, port) if backend == "static" else c10d(port) for i in (0, 1)]
    commands = [jobs.start(TORCH, *flags[i], "--nproc-per-node", str(i + 1)) for i in (0, 1)]
    ended = [command.end() for command in commands]
    assert [command.code for command in ended] == [0, 0], [command.err for command in ended]
    lines = sorted(line.split() for command in ended for line in command.lines)
    assert [line[:3] for line in lines] == [[str(rank), "3", "3"] for rank in range(3)]
    assert ({line[3] for line in lines} == {str(port)}) == (backend == "static")
