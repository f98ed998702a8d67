"""A store whose server has been stopped: calls end when their time is up, and work again when it goes on."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

import pytest

from fake_torch_dist.errors import DistNetworkError, DistStoreError
from fake_torch_dist.meeting.generations import join
from fake_torch_dist.stores import TCPStore
from fake_torch_dist.stores.server import StoreServer
from fake_torch_dist.stores.sockets import listen
from tests.support.processes import Children, state_of, until

SHORT = timedelta(seconds=0.5)
LONG = timedelta(seconds=30)
LATEST_S = 5.0
"""For half a second and its grace of one, on a busy machine; without the mend it took ten more."""


class Server:
    """A store's server in a process of its own."""

    def __init__(self) -> None:
        listener = listen("127.0.0.1", 0)
        self.port: int = listener.getsockname()[1]
        self._children = Children()
        self._process = self._children.fork(lambda: StoreServer(listener, b"").serve(os.pipe()[0]))
        listener.close()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGSTOP)
        until(lambda: state_of(self._process.pid) == "T", "the server is stopped")

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        self._children.close()


@pytest.fixture
def server() -> Iterator[Server]:
    started = Server()
    yield started
    started.end()


@pytest.fixture
def store(server: Server, no_launcher: None) -> Iterator[TCPStore]:
    opened = TCPStore("127.0.0.1", server.port, timeout=LONG)
    opened.set("there", "1")
    yield opened
    opened.close()


def took(begin_s: float) -> float:
    return time.monotonic() - begin_s


CALLS: dict[str, Callable[[TCPStore], object]] = {
    "get": lambda store: store.get("there"),
    "set": lambda store: store.set("other", "1"),
    "add": lambda store: store.add("n", 1),
    "wait": lambda store: store.wait(["never"]),
    "num_keys": lambda store: store.num_keys(),
    "more than sockets hold": lambda store: store.set("more than sockets hold", bytes(32 << 20)),
}


@dataclass
class Refusal:
    """The end of a call to a stopped server."""

    error: BaseException | None
    seconds: float


@pytest.fixture(scope="module")
def refusals() -> dict[str, Refusal]:
    """Each call's end. They wait at the same time, each in a thread and with a store of its own."""
    server = Server()
    try:
        stores = {name: TCPStore("127.0.0.1", server.port, timeout=LONG) for name in CALLS}
        stores["set"].set("there", "1")
        for store in stores.values():
            store.set_timeout(SHORT)
        server.stop()

        def end_of(name: str) -> Refusal:
            begin_s, error = time.monotonic(), None
            try:
                CALLS[name](stores[name])
            except DistNetworkError as refused:
                error = refused
            return Refusal(error, took(begin_s))

        with ThreadPoolExecutor(len(CALLS)) as threads:
            found = dict(zip(CALLS, threads.map(end_of, CALLS), strict=True))
        for store in stores.values():
            store.close()
        return found
    finally:
        server.end()


@pytest.mark.parametrize("call", CALLS)
def test_a_short_timeout_is_kept(refusals: dict[str, Refusal], call: str) -> None:
    refusal = refusals[call]
    assert re.search(r"is connected but has not reacted for 1 seconds$", str(refusal.error))
    assert 0.4 < refusal.seconds < LATEST_S


def test_a_server_that_goes_on_is_used_again(server, store):
    store.set_timeout(SHORT)
    server.stop()
    for _ in range(2):
        with pytest.raises(DistNetworkError, match="has not reacted"):
            store.get("there")
    server.go_on()
    store.set_timeout(LONG)
    store.set("there", "2")
    assert store.get("there") == b"2"


def test_a_server_that_reacts_only_has_no_key(server, store):
    store.set_timeout(SHORT)
    with pytest.raises(DistStoreError, match="wait timeout after 500ms"):
        store.get("never")
    assert store.get("there") == b"1"


def test_a_meeting_ends_in_time(server, store):
    server.stop()
    begin_s = time.monotonic()
    with pytest.raises(DistNetworkError, match="has not reacted"):
        join(store, 0, 2, SHORT)
    assert took(begin_s) < LATEST_S


def test_connecting_ends_in_time(server, store):
    server.stop()
    begin_s = time.monotonic()
    with pytest.raises(DistNetworkError, match=r"timed out after 500ms.*does not greet"):
        TCPStore("127.0.0.1", server.port, timeout=SHORT)
    assert took(begin_s) < LATEST_S
