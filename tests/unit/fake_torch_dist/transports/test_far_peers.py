"""Ranks on other hosts: heard to their last message, then gone; and hosts that are lost without a word."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import cast

import pytest

from fake_torch_dist.meeting.rank_values import RankValues
from fake_torch_dist.transports import far_peers, listening
from fake_torch_dist.transports.contacts import Contact, Contacts
from fake_torch_dist.transports.far_peers import LONGEST_POLL_S, ON_ITS_WAY_S, UNAUTHENTICATED_S, FarPeers, is_silent
from fake_torch_dist.transports.peers import Peers
from fake_torch_dist.transports.wire import Frame, PeerConnection

SECRET = b"of the world"
LIMIT_S = 20.0


class Line:
    """The connection from one host to another, which carries nothing before ``deliver``."""

    def __init__(self, to: str) -> None:
        self._to = to
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._held: list[socket.socket] = []

    def arrive(self) -> None:
        """Let the connection arrive, without data."""
        host, _, port = self._to.rpartition(":")
        self._held = [self._listener.accept()[0], socket.create_connection((host, int(port)))]

    def deliver(self) -> None:
        """Let all data arrive, then the end."""
        source, goal = self._held
        while data := source.recv(65536):
            goal.sendall(data)
        self.close()

    def close(self) -> None:
        for each in [*self._held, self._listener]:
            each.close()


def contacts_of(contacts: list[Contact], member: Peers) -> Contacts:
    """The contacts of all ranks as ``member`` gets them."""
    table = [contact.host + contact.packed() for contact in contacts]
    return Contacts(RankValues.of_table(table, member.contact.host))


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Peers, Peers, Line]]:
    """Ranks 0 and 1 of two hosts, and the line on which rank 1 sends to rank 0."""
    monkeypatch.delenv("FAKE_TORCH_DIST_TOKEN", raising=False)
    both = []
    for rank in range(2):
        monkeypatch.setattr(listening, "host_identity", lambda rank=rank: f"host{rank}")
        both.append(Peers(rank))
        both[-1].listen_on("127.0.0.1")
    zero, one = both
    line = Line(zero.contact.tcp)
    contacts = [zero.contact, one.contact]
    zero.meet(contacts_of(contacts, zero), SECRET)
    contacts[0] = contacts[0]._replace(tcp=line.address)
    one.meet(contacts_of(contacts, one), SECRET)
    yield zero, one, line
    for each in (zero, line):
        each.close()


def heard(zero: Peers, limit_s: float = LIMIT_S) -> list[Frame]:
    """The messages until rank 1 is gone."""
    frames, until_s = [], time.monotonic() + limit_s
    while 1 not in zero.gone and time.monotonic() < until_s:
        frames += zero.receive(zero.poll(0.05))
    return frames


def watching(zero: Peers, one: Peers) -> None:
    """Rank 0 has connected to rank 1, which has accepted."""
    zero.watch([1])
    until_s = time.monotonic() + LIMIT_S
    while len(one._connections) < 1 or next(iter(one._connections.values())).rank != 0:
        one.receive(one.poll(0.05))
        assert time.monotonic() < until_s


def test_the_last_message_of_a_rank_is_heard_after_the_end_of_our_connection_to_it(pair: tuple[Peers, Peers, Line]):
    zero, one, line = pair
    watching(zero, one)
    one.send(0, 7, 3, 5, b"the last word")
    line.arrive()
    one.close()
    until_s = time.monotonic() + LIMIT_S
    while not zero._far.is_losing:  # the end of our connection has arrived
        assert zero.receive(zero.poll(0.05)) == []
        assert time.monotonic() < until_s
    assert zero.receive(zero.poll(0.0)) == [] and not zero.gone
    zero.send(1, 7, 3, 5, b"to nobody")
    line.deliver()
    assert heard(zero) == [(1, 7, 3, 5, b"the last word")]
    assert list(zero.gone) == [1]


def test_a_rank_that_has_never_connected_is_gone_soon(pair: tuple[Peers, Peers, Line]):
    zero, one, _ = pair
    watching(zero, one)
    one.close()
    begin_s = time.monotonic()
    assert heard(zero) == []
    assert list(zero.gone) == [1] and time.monotonic() - begin_s < LIMIT_S


def test_how_long_a_rank_to_which_nothing_can_be_sent_is_listened_to():
    now_s = 0.0
    far = FarPeers(lambda: now_s)
    assert not far.are_there and far.longest_poll_s == LONGEST_POLL_S
    far.lose_way(3)
    assert 3 in far and far.is_losing and far.ended() == []
    now_s = ON_ITS_WAY_S
    assert far.ended() == [3]
    ends = socket.socketpair()
    with ends[0], ends[1]:
        stranger = PeerConnection(ends[0])
        far.add(stranger)
        assert far.ended() == []  # it may be rank 3's
        now_s = UNAUTHENTICATED_S
        assert far.ended() == [3]
        stranger.rank = 3
        now_s = 3600.0
        assert far.ended() == []  # its own connection ends when it does
        far.remove(stranger)
        assert far.ended() == [3]
    far.forget(3)
    assert not far.are_there


class Counters:
    """A socket with the kernel's counters."""

    def __init__(self, unacknowledged: int, silent_ms: int) -> None:
        self._info = far_peers._TCP_INFO.pack(*[0] * 12, unacknowledged, *[0] * 7, silent_ms)

    def getsockopt(self, *_: int) -> bytes:
        return self._info


def test_a_host_that_acknowledges_nothing_is_silent():
    assert is_silent(cast(socket.socket, Counters(1, 26_000)))
    assert not is_silent(cast(socket.socket, Counters(1, 1_000)))
    assert not is_silent(cast(socket.socket, Counters(0, 10**6)))  # idle: keep-alive probes look for it


def test_a_process_that_reads_nothing_is_not_silent(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(far_peers, "LOST_HOST_S", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as sending:
        reading = server.accept()[0]
        with reading:
            sending.setblocking(False)
            with pytest.raises(BlockingIOError):
                while True:
                    sending.send(bytes(1 << 20))
            fields = far_peers._TCP_INFO.unpack(
                sending.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, far_peers._TCP_INFO.size)
            )
            assert fields[far_peers._UNACKNOWLEDGED] >= 0
            assert 0 <= fields[far_peers._LAST_ACKNOWLEDGED_MS] < 60_000


def test_connections_between_hosts_are_probed(pair: tuple[Peers, Peers, Line]):
    zero, one, _ = pair
    watching(zero, one)
    for each in (zero, one):
        (connection,) = each._connections.values()
        assert connection.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if hasattr(socket, "TCP_KEEPIDLE"):
            assert connection.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 25
    one.close()
