"""One command per node, as with torchrun: how nodes meet. Here all of them on this host."""

from __future__ import annotations

import os
import re
import signal
import socket

import pytest

from tests.support.launched import Jobs
from tests.support.processes import until
from tests.support.several_hosts import (
    MEET,
    WAIT,
    all_up,
    c10d,
    failed,
    found,
    is_listening,
    static,
)

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
