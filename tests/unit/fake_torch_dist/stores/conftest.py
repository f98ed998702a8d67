"""A store's server in this process, and members of its job that have to be served whatever a test does."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from fake_torch_dist.stores.messages import Kind, Message
from fake_torch_dist.stores.server import StoreServer
from fake_torch_dist.stores.sockets import listen
from tests.support.store_peer import TOKEN, Peer


@pytest.fixture
def server() -> Iterator[StoreServer]:
    """A server in this process."""
    with StoreServer(listen("127.0.0.1", 0), TOKEN) as made:
        yield made
    while Peer.left:
        Peer.left.pop().sock.close()


@pytest.fixture
def works(server: StoreServer) -> Iterator[Callable[[], None]]:
    """``works()`` checks that two members of the job are served; they have been there from the start."""
    member, waiting = Peer(server), Peer(server)
    count = 0

    def check() -> None:
        nonlocal count
        count += 1
        key = b"key %d" % count
        waiting.send(Message(Kind.GET, 0, [key]))
        assert member.ask(Message(Kind.SET, 0, [key, b"v"])) == Message(Kind.DONE, 0, [])
        assert waiting.read() == Message(Kind.DONE, 0, [b"v"])

    yield check
    check()
