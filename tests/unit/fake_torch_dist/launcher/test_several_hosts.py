"""One command per node, as with torchrun: how nodes meet, and how they end together. Here all of them on this host."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.free_ports import free_port
from tests.support.launched import Ended, Jobs, RunningJob
from tests.support.processes import until

MEET = """
import os
import numpy as np
import fake_torch_dist as dist
dist.init_process_group("gloo")
total = np.ones(1)
dist.all_reduce(total)
names = ("RANK", "LOCAL_RANK", "GROUP_RANK", "LOCAL_WORLD_SIZE", "WORLD_SIZE", "GROUP_WORLD_SIZE", "MASTER_ADDR",
         "MASTER_PORT", "TORCHELASTIC_RUN_ID", "FAKE_TORCH_DIST_TOKEN", "FAKE_TORCH_DIST_STORE")
import json
print(json.dumps({name: os.environ[name] for name in names} | {"sum": int(total[0])}))
dist.destroy_process_group()
"""
WAIT = "import os, time\nprint('up', os.environ['RANK'])\ntime.sleep(600)\n"
ONCE_MORE = """
import os, time
print("up", os.environ["TORCHELASTIC_RESTART_COUNT"], "of", os.environ["WORLD_SIZE"])
if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0": time.sleep(600)
"""
STUBBORN = "import signal\nfor s in (2, 15): signal.signal(s, signal.SIG_IGN)\n" + WAIT


@pytest.fixture
def port() -> int:
    """One that is free now."""
    return free_port()


def static(node_rank: int, port: int, nnodes: int = 2, *more: str) -> list[str]:
    address = ["--master-addr", "127.0.0.1", "--master-port", str(port)]
    return ["--nnodes", str(nnodes), "--node-rank", str(node_rank), *address, *more]


def c10d(port: int, nnodes: str = "2", *more: str, run_id: str = "job7") -> list[str]:
    endpoint = ["--rdzv-backend", "c10d", "--rdzv-id", run_id, "--rdzv-endpoint", f"localhost:{port}"]
    return ["--nnodes", nnodes, *endpoint, *more]


def found(*commands: RunningJob) -> list[dict[str, Any]]:
    """Lines that the ranks of all these commands print, in rank order."""
    ended = [command.end() for command in commands]
    assert [command.code for command in ended] == [0] * len(commands), [command.err for command in ended]
    ranks = [json.loads(line) for command in ended for line in command.lines]
    return sorted(ranks, key=lambda rank: int(rank["RANK"]))


def all_up(count: int, *commands: RunningJob) -> None:
    for command in commands:
        command.wait_for("up", count)


def failed(*commands: RunningJob) -> list[Ended]:
    """All end with exit code 1, and no launcher dies of its own mistakes."""
    ended = [command.end() for command in commands]
    assert [command.code for command in ended] == [1] * len(commands), [command.err for command in ended]
    assert not any('launcher/launch.py", line' in command.err for command in ended)
    return ended


# -- meeting ----------------------------------------------------------------------------------------------------------


def test_two_commands_with_node_ranks_are_one_world(jobs: Jobs, port: int) -> None:
    late = jobs.start(MEET, *static(1, port), "--nproc-per-node", "1")
    ranks = found(jobs.start(MEET, *static(0, port), "--nproc-per-node", "2"), late)
    keys = ("RANK", "LOCAL_RANK", "GROUP_RANK", "LOCAL_WORLD_SIZE", "WORLD_SIZE", "GROUP_WORLD_SIZE", "sum")
    assert [[int(rank[key]) for key in keys] for rank in ranks] == [
        [0, 0, 0, 2, 3, 2, 3], [1, 1, 0, 2, 3, 2, 3], [2, 0, 1, 1, 3, 2, 3],
    ]  # fmt: skip
    assert {(rank["MASTER_ADDR"], rank["MASTER_PORT"]) for rank in ranks} == {("127.0.0.1", str(port))}
    assert {rank["TORCHELASTIC_RUN_ID"] for rank in ranks} == {"none"}


def test_whoever_is_first_at_a_c10d_endpoint_hosts(jobs: Jobs, port: int) -> None:
    ranks = found(*(jobs.start(MEET, *c10d(port, "3")) for _ in range(3)))
    assert [(rank["RANK"], rank["GROUP_RANK"], rank["sum"]) for rank in ranks] == [
        (str(i), str(i), 3) for i in range(3)
    ]
    assert {(rank["MASTER_ADDR"], rank["TORCHELASTIC_RUN_ID"]) for rank in ranks} == {("localhost", "job7")}
    assert len({rank["MASTER_PORT"] for rank in ranks}) == 1 and ranks[0]["MASTER_PORT"] != str(port)


def test_an_elastic_job_begins_when_as_many_as_can_have_come(jobs: Jobs, port: int) -> None:
    ranks = found(*(jobs.start(MEET, *c10d(port, "1:3", "--rdzv-conf", "last_call_timeout=60")) for _ in range(3)))
    assert [rank["WORLD_SIZE"] for rank in ranks] == ["3"] * 3


def test_an_elastic_job_begins_without_those_who_miss_the_last_call(jobs: Jobs, port: int) -> None:
    flags = c10d(port, "2:4", "--rdzv-conf", "last_call_timeout=1,join_timeout=50")
    ranks = found(*(jobs.start(MEET, *flags) for _ in range(2)))
    assert [rank["WORLD_SIZE"] for rank in ranks] == ["2"] * 2


def test_a_port_that_others_can_reach_needs_a_token(jobs: Jobs) -> None:
    address = ["--master-addr", "192.0.2.1", "--master-port", "29500"]
    ended = jobs.run(MEET, "--nnodes", "2", "--node-rank", "0", *address)
    assert ended.code == 1
    assert "FAKE_TORCH_DIST_TOKEN is not set" in ended.err and "the same secret on all nodes" in ended.err


def test_nodes_meet_at_an_address_of_the_network(jobs: Jobs, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("no network")
        address = sock.getsockname()[0]
    flags = ["--nnodes", "2", "--master-addr", address, "--master-port", str(port)]
    ranks = found(*(jobs.start(MEET, *flags, "--node-rank", str(i), FAKE_TORCH_DIST_TOKEN="secret") for i in (0, 1)))
    assert [(rank["sum"], rank["MASTER_ADDR"]) for rank in ranks] == [(2, address)] * 2
    assert {rank["FAKE_TORCH_DIST_TOKEN"] for rank in ranks} == {"secret"}
    assert all(rank["FAKE_TORCH_DIST_STORE"].startswith(f"{address}:") for rank in ranks)


def test_the_lines_of_the_rendezvous_are_torchruns(jobs: Jobs, port: int) -> None:
    one, other = (jobs.start(MEET, *static(i, port), LOGLEVEL="INFO") for i in (0, 1))
    found(one, other)
    assert "Using nproc_per_node=1." in other.err
    lines = [line.partition("] ")[2] for line in other.err.splitlines()]
    begin = lines.index("[default] Rendezvous complete for workers. Result:")
    assert lines[begin - 1].startswith("[default] starting workers for entrypoint: python")
    assert lines[begin + 1 : begin + 6] == [
        "  restart_count=0", "  master_addr=127.0.0.1", f"  master_port={port}", "  group_rank=1",
        "  group_world_size=2",
    ]  # fmt: skip
    after = lines[begin + 13 :]
    assert after[0] == "[default] Starting worker group" and after[1].startswith("log directory set to: ")


# -- not meeting ------------------------------------------------------------------------------------------------------


def test_a_node_that_does_not_come_is_waited_for_so_long(jobs: Jobs, port: int) -> None:
    alone = jobs.start(MEET, *static(0, port), "--rdzv-conf", "timeout=1")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        elsewhere = other.getsockname()[1]
    ended, elastic = failed(alone, jobs.start(MEET, *c10d(elsewhere), "--rdzv-conf", "join_timeout=1"))
    assert "Timed out after 1 seconds waiting for clients. 1/2 clients joined." in ended.err
    assert "RendezvousTimeoutError: 1 of 2 nodes came within 1 s" in elastic.err


def test_those_who_came_are_told_that_others_did_not(jobs: Jobs, port: int) -> None:
    commands = [jobs.start(MEET, *static(i, port, 3), "--rdzv-conf", "timeout=3") for i in (0, 1)]
    for ended in failed(*commands):
        assert "Timed out after 3 seconds waiting for clients. 2/3 clients joined." in ended.err


def test_a_node_without_a_host_gives_up(jobs: Jobs, port: int) -> None:
    (ended,) = failed(jobs.start(MEET, *static(1, port), "--rdzv-conf", "timeout=1"))
    sentence = f"The client socket has timed out after 1000ms while trying to connect to (127.0.0.1, {port})."
    assert sentence in ended.err and "Connection refused" in ended.err


def test_a_taken_port_is_said(jobs: Jobs, port: int) -> None:
    first = jobs.start(MEET, *static(0, port))
    until(lambda: is_listening(port), "the first node listens")
    (second,) = failed(jobs.start(MEET, *static(0, port)))
    assert f"port: {port}, useIpv6: false, code: -98, name: EADDRINUSE, message: address already in use" in second.err
    found(first, jobs.start(MEET, *static(1, port)))


def is_listening(port: int) -> bool:
    wanted = f":{port:04X} 00000000:0000 0A"
    return wanted in Path("/proc/net/tcp").read_text()


@pytest.mark.parametrize(
    ("node_rank", "nnodes", "more", "token", "words"),
    [
        (1, 3, (), "", "there already: node 1 on"),
        pytest.param(
            1, 2, (), "", "--nnodes is 2 on node 1 on .*, and 3 on the node that hosts the job", marks=pytest.mark.slow
        ),
        (2, 3, ("--rdzv-id", "b"), "", "--rdzv-id is b on node 2 on .*, and none on the node"),
        (2, 3, (), "x", "FAKE_TORCH_DIST_TOKEN is not the same"),
    ],
    ids=["same node rank", "other number of nodes", "other job", "other token"],
)
def test_who_does_not_belong_to_the_job_is_told_why(
    jobs: Jobs, port: int, node_rank: int, nnodes: int, more: tuple[str, ...], token: str, words: str
) -> None:
    host = jobs.start(MEET, *static(0, port, 3), LOGLEVEL="INFO")
    member = jobs.start(MEET, *static(1, port, 3))
    until(lambda: "node 1 on" in host.err, "the member is there")
    flags = static(node_rank, port, nnodes, *more)
    (stranger,) = failed(jobs.start(MEET, *flags, FAKE_TORCH_DIST_TOKEN=token))
    assert re.search(words, stranger.err), stranger.err
    assert "A node was refused" in host.err
    found(host, member, jobs.start(MEET, *static(2, port, 3)))


def test_nobody_joins_a_job_that_has_begun(jobs: Jobs, port: int) -> None:
    commands = [jobs.start(WAIT, *c10d(port)) for _ in range(2)]
    all_up(1, *commands)
    (late,) = failed(jobs.start(WAIT, *c10d(port)))
    assert "has begun: nobody else can join it" in late.err
    os.kill(commands[0].pid, signal.SIGTERM)
    failed(*commands)


def test_strangers_disturb_nobody(jobs: Jobs, port: int) -> None:
    host = jobs.start(MEET, *static(0, port))
    until(lambda: is_listening(port), "the host listens")
    lines = [
        b"GET / HTTP/1.0\r\n\r\n", b"[]\n", b'{"kind": "hello"}\n', b'{"kind": "join", "descriptors": 0}\n', b"1\n" * 9,
        b'{"kind": "hello", "nonce": 7, "descriptors": 0}\n', b'{"kind": "start", "descriptors": 0}\n', b"\xff\n",
        b'{"kind": "hello", "nonce": "' + b"00" * 32 + b'", "descriptors": 0}\n{"kind": "join", "proof": "00", '
        b'"application": {}, "descriptors": 0}\n',
    ]  # fmt: skip
    for line in lines:
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(line)
            sock.settimeout(30)
            with sock.makefile("rb") as answers:
                assert b"welcome" not in answers.read()
    silent = socket.create_connection(("127.0.0.1", port))
    found(host, jobs.start(MEET, *static(1, port)))
    silent.close()


@pytest.mark.parametrize("node_rank", [0, 1])
def test_a_signal_ends_the_wait_for_nodes(jobs: Jobs, port: int, node_rank: int) -> None:
    job = jobs.start(MEET, *static(node_rank, port), LOGLEVEL="INFO")
    until(lambda: "starting workers" in job.err, "it waits")
    os.kill(job.pid, signal.SIGINT)
    (ended,) = failed(job)
    assert "SignalException" in ended.err and "Received 2 death signal" in ended.err


def test_a_node_that_leaves_before_the_start_can_come_again(jobs: Jobs, port: int) -> None:
    host = jobs.start(MEET, *static(0, port, 3), LOGLEVEL="INFO")
    first = jobs.start(MEET, *static(1, port, 3))
    until(lambda: "node 1 on" in host.err, "it is there")
    first.process.kill()
    assert first.end().code == -signal.SIGKILL
    until(lambda: "has left before all nodes were there" in host.err, "its end seen")
    found(host, *(jobs.start(MEET, *static(i, port, 3)) for i in (1, 2)))


# -- ending together --------------------------------------------------------------------------------------------------


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
