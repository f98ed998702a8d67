"""A server that fails as a rank asks: connections that are reset or closed, and answers that do not come."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from fake_torch_dist.errors import DistNetworkError
from fake_torch_dist.stores import TCPStore
from fake_torch_dist.stores.server import TROUBLE, StoreServer
from tests.support.processes import until
from tests.support.store_peer import TOKEN

LIMIT = timedelta(seconds=60)
Connect = Callable[[], TCPStore]


@pytest.fixture
def connect(server: StoreServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
    """A function that makes a client of a server, which a thread serves."""
    monkeypatch.setenv("FAKE_TORCH_DIST_TOKEN", TOKEN.decode())
    ended, made = threading.Event(), list[TCPStore]()

    def serve() -> None:
        while not ended.wait(0.002):
            server.on_readable()

    def client() -> TCPStore:
        made.append(TCPStore("127.0.0.1", server.port, timeout=LIMIT, wait_for_workers=False))
        return made[-1]

    thread = threading.Thread(target=serve)
    thread.start()
    yield client
    ended.set()
    thread.join()
    for each in made:
        each.close()


def fails(client: TCPStore, text: str) -> None:
    with pytest.raises(DistNetworkError, match=text):
        client.check(["a"])


def test_a_store_that_resets_its_connections_takes_new_ones(connect: Connect) -> None:
    asker, other = connect(), connect()
    other.set("a", "1")
    asker.set(TROUBLE, "reset")
    for client in (asker, other):
        fails(client, "^Connection reset by peer$")
        fails(client, "^Broken pipe$")
    assert connect().get("a") == b"1"


def test_a_store_that_is_gone_is_back_for_the_next_attempt(connect: Connect, server: StoreServer) -> None:
    asker, other = connect(), connect()
    asker.set("outlives restarts/a", "1")
    asker.set(TROUBLE, "gone")
    fails(other, "^Failed to recv, got 0 bytes. Connection was likely closed|^Connection reset by peer$")
    fails(other, "^Broken pipe$")
    with pytest.raises(DistNetworkError, match="timed out after 200ms while trying to connect"):
        TCPStore("127.0.0.1", server.port, timeout=timedelta(seconds=0.2), wait_for_workers=False)
    server.forget_all()
    assert connect().get("outlives restarts/a") == b"1"


def test_calls_to_a_slow_store_wait_until_it_is_over(connect: Connect) -> None:
    asker, other, answers = connect(), connect(), list[bool]()
    asker.set(TROUBLE, "slow")
    waiting = threading.Thread(target=lambda: answers.append(other.check(["a"])))
    waiting.start()
    assert not asker.check(["a"])  # the asker alone is answered
    waiting.join(0.1)
    assert waiting.is_alive() and not answers
    asker.set("a", "1")
    asker.set(TROUBLE, "over")
    waiting.join(LIMIT.total_seconds())
    assert answers == [True]


def test_a_store_is_slow_no_longer_than_its_asker_stays(connect: Connect, server: StoreServer) -> None:
    asker, other = connect(), connect()
    asker.set(TROUBLE, "slow")
    asker.close()
    assert not other.check(["a"])
    until(lambda: server.num_clients == 1, "the asker has left")
