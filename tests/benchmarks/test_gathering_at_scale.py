"""Time in which a store answers a world of thousands, without the processes of the ranks, and the law beyond.

The clients are connections of one process that read their answers and drop them. Ranks of a world of up to
``SMALL_WORLD`` get the values of all, those of a larger one two of them each, and one process of each host asks for
those of its host, as its ranks' leaders do. So bytes and time grow with the number of ranks, which is the law.

python -m pytest -m slow tests/benchmarks/test_gathering_at_scale.py -s
"""

from __future__ import annotations

import resource
import select
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import NamedTuple

import pytest

from fake_torch_dist.meeting.exchange import _RankInfo
from fake_torch_dist.stores.connection import Connection
from fake_torch_dist.stores.gatherings import SMALL_WORLD, packed_ranks
from fake_torch_dist.stores.messages import Kind, Message
from fake_torch_dist.stores.server_process import fork_server
from fake_torch_dist.transports.contacts import HOST_BYTES, NAME_BYTES, Contact

CARD = _RankInfo(1 << 40).packed(Contact(bytes(HOST_BYTES), 1 << 20, bytes(NAME_BYTES)))
"""A rank's contact and its other values, as long as they are in a meeting."""
RANKS_PER_HOST = 8
ADDRESS = b"10.100.200.30:40404"
"""The second value, which ranks on several hosts give."""
GOALS_S = {4096: 5.0, 16384: 60.0}
"""For meetings of so many ranks on an idle machine; the larger one by the law."""
LIMIT_S = 120.0
DESCRIPTORS = 128
"""For everything that is not a client."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the clients wait with epoll"),
]


class Gathered(NamedTuple):
    """The cost of one gathering."""

    connect_s: float
    answer_s: float
    """From the last rank's request to the last byte of the last answer."""
    received_bytes: int
    hosts_s: float
    """The same for the second values, of ranks on several hosts."""


@contextmanager
def connected(size: int) -> Iterator[list[Connection]]:
    server = fork_server("127.0.0.1", 0, b"")
    clients: list[Connection] = []
    try:
        for _ in range(size):
            clients.append(Connection("127.0.0.1", server.port, b"", timedelta(seconds=LIMIT_S)))
        yield clients
    finally:
        for client in clients:
            client.close()
        server.close()


def gather(size: int) -> Gathered:
    begin = time.monotonic()
    with connected(size) as clients:
        up = time.monotonic()
        received, answer_s = exchange(clients, CARD, 0)
        _, hosts_s = exchange(clients, ADDRESS, 1)
        return Gathered(up - begin, answer_s, received, hosts_s)


def exchange(clients: list[Connection], value: bytes, number: int) -> tuple[int, float]:
    """Let each client give a value and get what it needs; the bytes and the time of the answers."""
    for rank, client in enumerate(clients):
        host = b"%016d" % (rank // RANKS_PER_HOST)
        client._send(Message(Kind.GATHER, rank, [b"/world", b"%d" % len(clients), value, host]))
    asked = time.monotonic()
    received = drop_answers(clients, asked + LIMIT_S)
    if len(clients) > SMALL_WORLD:
        for rank in range(0, len(clients), RANKS_PER_HOST):
            ranks = packed_ranks(range(rank, rank + RANKS_PER_HOST))
            clients[rank]._send(Message(Kind.GATHERED, number, [b"/world", ranks]))
        received += drop_answers(clients[::RANKS_PER_HOST], asked + LIMIT_S)
    return received, time.monotonic() - asked


def drop_answers(clients: list[Connection], until_s: float) -> int:
    """Read one frame of each client; return the bytes of all."""
    sockets = {client._open_socket().fileno(): client._open_socket() for client in clients}
    missing = dict.fromkeys(sockets, 0)
    inbox, received = bytearray(1 << 20), 0
    with select.epoll() as poll:
        for fd in sockets:
            poll.register(fd, select.EPOLLIN)
        while missing:
            assert time.monotonic() < until_s, f"{len(missing)} ranks without an answer"
            for fd, _ in poll.poll(1.0):
                if missing[fd]:
                    count = sockets[fd].recv_into(inbox)
                    missing[fd] -= count
                else:
                    head = sockets[fd].recv(4)
                    count = len(head)
                    missing[fd] = int.from_bytes(head, "big")
                assert count, "the store has closed a connection"
                received += count
                if not missing[fd]:
                    del missing[fd]
                    poll.unregister(fd)
    return received


@pytest.fixture(scope="module", autouse=True)
def many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4096 + DESCRIPTORS
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"the hard limit of descriptors is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_how_a_store_answers_thousands(capsys: pytest.CaptureFixture[str]) -> None:
    found = {size: gather(size) for size in (256, 1024, 4096)}
    with capsys.disabled():
        print()
        for size, cost in found.items():
            print(
                f"  {size:5} ranks: connected in {cost.connect_s:5.2f} s, answered in {cost.answer_s:5.2f} s with "
                f"{cost.received_bytes / 1e6:5.2f} MB, on several hosts {cost.hosts_s:5.2f} s more"
            )
        whole = found[4096].answer_s + found[4096].hosts_s
        print(f"  goal for 4096: {GOALS_S[4096]:g} s, {whole:.1f} s on several hosts")
        beyond = 4 * (found[4096].connect_s + whole)
        print(f"  goal for 16384: {GOALS_S[16384]:g} s, four times {beyond:.0f} s on several hosts, with connecting")
    for size, cost in found.items():
        of_all = size * (size * (len(CARD) + 8) + 64)
        assert cost.received_bytes <= (of_all if size <= SMALL_WORLD else size * 512)
    # Sixteen times the ranks; eight times more leaves room for caches and other processes.
    assert found[4096].answer_s < 128 * max(found[256].answer_s, 0.01)
