"""The server: hostile and dying peers harm nobody else."""

from __future__ import annotations

import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fake_torch_dist.stores.authentication import PROTOCOL, Greeting, proof
from fake_torch_dist.stores.frames import FRAME, MAX_GREETING, MAX_MESSAGE, frame, next_frame
from fake_torch_dist.stores.messages import Kind, Message
from fake_torch_dist.stores.server import StoreServer
from fake_torch_dist.stores.sockets import listen

TOKEN = b"secret"
NONCE = bytes(range(32))


class Peer:
    """A client that does only what it is told. The fixture ``server`` hangs up for those that are left."""

    left: ClassVar[list[Peer]] = []

    def __init__(self, server: StoreServer, *, join: bool = True) -> None:
        self.server = server
        self.sock = socket.create_connection(("127.0.0.1", server.port))
        self.left.append(self)
        self.sock.setblocking(False)
        self.incoming = bytearray()
        if join:
            self.nonce = self.ask(Message(Greeting.HELLO, 0, [PROTOCOL, NONCE])).fields[0]
            welcome = self.ask(Message(Greeting.PROOF, 0, [proof(TOKEN, b"client", NONCE, self.nonce)]))
            assert welcome == (Greeting.WELCOME, 0, [proof(TOKEN, b"server", NONCE, self.nonce)])

    def send(self, message: Message, number: int = 7) -> None:
        self.send_bytes(frame(number, message))

    def send_bytes(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            with suppress(BlockingIOError):
                rest = rest[self.sock.send(rest) :]
            turn(self.server, 0)

    def read(self, seconds: float = 5.0) -> Message:
        """The next answer. ConnectionError if the server has hung up, TimeoutError if it says nothing."""
        deadline = time.monotonic() + seconds
        while (found := next_frame(self.incoming, MAX_MESSAGE)) is None:
            if time.monotonic() > deadline:
                raise TimeoutError
            turn(self.server, 0.001, self.sock)
            try:
                data = self.sock.recv(1 << 20)
            except BlockingIOError:
                continue
            if not data:
                raise ConnectionResetError
            self.incoming += data
        return found[1]

    def ask(self, message: Message) -> Message:
        self.send(message)
        return self.read()

    def gets_nothing(self, message: Message | None = None) -> bool:
        """True if there is no answer, to ``message`` if given, within 20 ms."""
        if message is not None:
            self.send(message)
        try:
            self.read(0.02)
        except TimeoutError:
            return True
        return False

    def is_dropped(self) -> bool:
        """True if the server closes the connection; reads what it sent before."""
        try:
            while True:
                self.read()
        except (ConnectionError, TimeoutError) as error:
            return isinstance(error, ConnectionError)


def turn(server: StoreServer, seconds: float, *others: socket.socket) -> None:
    """Wait until there is something to do, and let the server do it."""
    if server.fileno() in select.select([server.fileno(), *others], [], [], seconds)[0]:
        server.on_readable()


def comes_true(server: StoreServer, condition: Callable[[], bool]) -> bool:
    """True if ``condition`` holds within five seconds of serving."""
    deadline = time.monotonic() + 5
    while not condition():
        if time.monotonic() > deadline:
            return False
        turn(server, 0.001)
    return True


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


# -- waiting ----------------------------------------------------------------------------------------------------------


def test_nothing_to_do_is_nothing_readable(server: StoreServer):
    peer = Peer(server)
    assert peer.gets_nothing(Message(Kind.WAIT, 0, [b"a"]))
    assert not select.select([server.fileno()], [], [], 0.05)[0]


def test_who_waits_is_answered_when_the_last_key_comes(server: StoreServer):
    peer, other = Peer(server), Peer(server)
    peer.send(Message(Kind.GET, 0, [b"a", b"b", b"c"]))
    for key in (b"c", b"a", b"b"):
        assert peer.gets_nothing()
        other.ask(Message(Kind.SET, 0, [key, key * 2]))
    assert peer.read() == Message(Kind.DONE, 0, [b"aa", b"bb", b"cc"])


def test_the_first_who_waits_gets_the_first_of_the_queue(server: StoreServer):
    first, second, third, other = (Peer(server) for _ in range(4))
    for peer in (first, second, third):
        assert peer.gets_nothing(Message(Kind.POP, 1, [b"q"]))
    assert third.ask(Message(Greeting.WITHDRAW)) == Message(Kind.DONE, 0, [])
    first.sock.close()
    assert comes_true(server, lambda: server.num_clients == 3)
    for value in (b"1", b"2"):
        other.ask(Message(Kind.PUSH, 0, [b"q", value]))
    assert second.read() == Message(Kind.DONE, 0, [b"1"])
    assert third.gets_nothing()
    assert other.ask(Message(Kind.QUEUE_LEN, 0, [b"q"])) == Message(Kind.DONE, 1, [])


def test_whatever_is_sent_withdraws_what_waits(server: StoreServer):
    peer, other = Peer(server), Peer(server)
    assert peer.gets_nothing(Message(Kind.GET, 0, [b"a"]))
    assert peer.ask(Message(Kind.ADD, 2, [b"n"])) == Message(Kind.DONE, 2, [])
    other.ask(Message(Kind.SET, 0, [b"a", b"1"]))
    assert peer.gets_nothing()
    assert not server._parked


def test_waiting_for_a_count(server: StoreServer):
    peer, other = Peer(server), Peer(server)
    peer.send(Message(Kind.WAIT_COUNT, 2, [b"n"]))
    other.ask(Message(Kind.ADD, 1, [b"n"]))
    assert peer.gets_nothing()
    other.ask(Message(Kind.ADD, 1, [b"n"]))
    assert peer.read() == Message(Kind.DONE, 0, [])


# -- gatherings -------------------------------------------------------------------------------------------------------


def contribution(rank: int, value: bytes, size: int = 3, key: bytes = b"g") -> Message:
    return Message(Kind.GATHER, rank, [key, b"%d" % size, value])


def test_a_gathering_answers_all_when_the_last_has_come(server: StoreServer):
    peers = [Peer(server) for _ in range(3)]
    for number in range(2):  # the next one begins where the last has ended
        values = [b"%d of %d" % (rank, number) for rank in range(3)]
        assert peers[2].gets_nothing(contribution(2, values[2]))
        assert peers[0].gets_nothing(contribution(0, values[0]))
        assert peers[0].ask(Message(Kind.GATHER_COUNTS, 0, [b"other"])) == Message(Kind.DONE, 0, [])
        assert peers[0].gets_nothing(contribution(0, values[0]))  # what it asked between has withdrawn the first
        whole = Message(Kind.DONE, number, values)
        assert peers[1].ask(contribution(1, values[1])) == whole
        assert [peers[0].read(), peers[2].read()] == [whole, whole]


def test_a_gathering_keeps_what_was_left_and_takes_the_last(server: StoreServer):
    first, second = Peer(server), Peer(server)
    assert first.gets_nothing(contribution(0, b"old", 2))
    assert first.ask(Message(Greeting.WITHDRAW)).kind == Kind.DONE
    assert first.ask(Message(Kind.GATHER_COUNTS, 0, [b"g"])) == Message(Kind.DONE, 0, [b"0 1"])
    assert first.gets_nothing(contribution(0, b"new", 2))
    assert second.ask(Message(Kind.GATHER_COUNTS, 0, [b"g"])) == Message(Kind.DONE, 0, [b"0 2"])
    assert second.ask(contribution(1, b"x", 2)) == Message(Kind.DONE, 0, [b"new", b"x"])
    assert first.read() == Message(Kind.DONE, 0, [b"new", b"x"])
    assert second.ask(Message(Kind.GATHER_COUNTS, 0, [b"g"])) == Message(Kind.DONE, 1, [])


def test_gatherings_of_different_size_are_refused(server: StoreServer):
    first, second = Peer(server), Peer(server)
    assert first.gets_nothing(contribution(0, b"a", 2))
    refused = second.ask(contribution(1, b"b", 3))
    assert refused == Message(Kind.REFUSED, 0, [b"rank 1 came with a world size of 3, but another rank with 2"])
    assert first.gets_nothing()
    assert second.ask(contribution(1, b"b", 2)).fields == first.read().fields == [b"a", b"b"]


def test_a_value_of_the_same_name_is_no_gathering(server: StoreServer):
    waiting, other = Peer(server), Peer(server)
    assert waiting.gets_nothing(contribution(0, b"a", 2))
    assert other.ask(Message(Kind.SET, 0, [b"g", b"value"])).kind == Kind.DONE
    assert waiting.gets_nothing()
    assert other.ask(contribution(1, b"b", 2)).fields == waiting.read().fields


def test_who_dies_waiting_leaves_its_value(server: StoreServer, works: Callable[[], None]):
    dead, second = Peer(server), Peer(server)
    assert dead.gets_nothing(contribution(0, b"a", 2))
    dead.sock.close()
    assert second.ask(contribution(1, b"b", 2)).fields == [b"a", b"b"]


@pytest.mark.parametrize(
    "message",
    [
        contribution(3, b"", 3),
        contribution(-1, b"", 3),
        contribution(0, b"", 0),
        Message(Kind.GATHER, 0, [b"g", b"x", b""]),
        Message(Kind.GATHER, 0, [b"g", b"9" * 30, b""]),
        Message(Kind.GATHER, 0, [b"g"]),
        Message(Kind.GATHER_COUNTS, 0, []),
    ],
)
def test_nonsense_is_no_gathering(server: StoreServer, works: Callable[[], None], message: Message):
    peer = Peer(server)
    peer.send(message)
    assert peer.is_dropped()


# -- strangers --------------------------------------------------------------------------------------------------------


def test_a_stranger_gets_nothing_done(server: StoreServer, works: Callable[[], None]):
    for message in (
        Message(Kind.SET, 0, [b"a", b"1"]),
        Message(Greeting.PROOF, 0, [proof(TOKEN, b"client", b"", b"")]),
        Message(Greeting.HELLO, 0, [b"torch", NONCE]),
        Message(Greeting.HELLO, 0, [PROTOCOL, b"short"]),
        Message(Greeting.HELLO),
    ):
        peer = Peer(server, join=False)
        with pytest.raises(ConnectionError):
            peer.ask(message)
    works()
    assert server.num_clients == 2


def test_a_proof_is_good_for_one_connection(server: StoreServer, works: Callable[[], None]):
    heard = proof(TOKEN, b"client", NONCE, Peer(server).nonce)
    for given_ in (heard, proof(b"", b"client", NONCE, bytes(32)), b"", b"x" * 32):
        peer = Peer(server, join=False)
        challenge = peer.ask(Message(Greeting.HELLO, 0, [PROTOCOL, NONCE]))
        assert given_ != proof(TOKEN, b"client", NONCE, challenge.fields[0])
        assert peer.ask(Message(Greeting.PROOF, 0, [given_])) == Message(Greeting.WRONG_TOKEN, 0, [])
        assert peer.is_dropped()
    peer = Peer(server, join=False)
    challenge = peer.ask(Message(Greeting.HELLO, 0, [PROTOCOL, NONCE]))
    mirrored = proof(TOKEN, b"server", NONCE, challenge.fields[0])
    assert peer.ask(Message(Greeting.PROOF, 0, [mirrored])) == Message(Greeting.WRONG_TOKEN, 0, [])
    works()


@pytest.mark.parametrize("length", [0, 4, MAX_GREETING + 1, MAX_MESSAGE, 2**32 - 1])
def test_a_stranger_that_announces_too_much(server: StoreServer, works: Callable[[], None], length: int):
    peer = Peer(server, join=False)
    peer.send_bytes(FRAME.pack(length, 1))
    assert peer.is_dropped()
    works()


def test_a_member_that_announces_too_much(server: StoreServer, works: Callable[[], None]):
    peer = Peer(server)
    peer.send_bytes(FRAME.pack(MAX_MESSAGE + 1, 1))
    assert peer.is_dropped()
    works()


def test_half_a_message_keeps_nobody_waiting(server: StoreServer, works: Callable[[], None]):
    whole = frame(1, Message(Kind.SET, 0, [b"half", b"1"]))
    halves = []
    for end in range(1, len(whole)):
        halves.append(Peer(server))
        halves[-1].send_bytes(whole[:end])
    works()
    for peer in halves[::2]:
        peer.sock.close()
    works()
    for end, peer in list(enumerate(halves, 1))[1::2]:
        peer.send_bytes(whole[end:])
        assert peer.read() == Message(Kind.DONE, 0, [])


def test_one_byte_at_a_time(server: StoreServer):
    peer = Peer(server)
    for byte in frame(1, Message(Kind.ADD, 3, [b"n"])):
        peer.send_bytes(bytes([byte]))
    assert peer.read() == Message(Kind.DONE, 3, [])


def test_a_port_scan(server: StoreServer, works: Callable[[], None]):
    for _ in range(30):
        socket.create_connection(("127.0.0.1", server.port)).close()
        reset = socket.create_connection(("127.0.0.1", server.port))
        reset.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        reset.close()
    silent = [Peer(server, join=False) for _ in range(30)]
    works()
    assert len(silent) == 30


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.booleans(), st.lists(st.binary(min_size=1, max_size=80), min_size=1, max_size=4))
def test_garbage(server: StoreServer, works: Callable[[], None], trusted: bool, pieces: list[bytes]):
    peer = Peer(server, join=trusted)
    try:
        for piece in pieces:
            peer.send_bytes(piece)
    except ConnectionError:
        pass
    works()
    peer.sock.close()
    assert comes_true(server, lambda: server.num_clients == 2)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([*Kind, *Greeting, 0, 255]),
    st.integers(-(2**63), 2**63 - 1),
    st.lists(st.binary(max_size=5), max_size=4),
)
def test_well_formed_nonsense(
    server: StoreServer, works: Callable[[], None], kind: int, number: int, fields: list[bytes]
):
    peer = Peer(server)
    peer.send(Message(kind, number, fields))
    works()
    peer.sock.close()
    assert comes_true(server, lambda: server.num_clients == 2)


def test_who_reads_no_answers_is_not_asked_for_more(server: StoreServer, works: Callable[[], None]):
    peer = Peer(server)
    peer.ask(Message(Kind.SET, 0, [b"big", bytes(8 << 20)]))
    for number in range(50):
        peer.send(Message(Kind.GET, 0, [b"big"]), number)
    works()
    (held,) = (len(other.outgoing) for other in server._members if other.outgoing)
    assert held <= 9 << 20
    for _ in range(50):
        assert len(peer.read().fields[0]) == 8 << 20


def test_out_of_descriptors(tmp_path: Path):
    """Strangers take all descriptors; the server drops the oldest of them, never a member, and does not spin."""
    code = """
import resource, select, socket, sys, time
from datetime import timedelta
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
from fake_torch_dist.stores import TCPStore
store = TCPStore("127.0.0.1", 0, 1, True, timeout=timedelta(seconds=5))
strangers = []
for _ in range(25):
    strangers.append(socket.create_connection(("127.0.0.1", store.port)))
store.set("a", "1")
for _ in range(25):
    strangers.pop(0).close()
    strangers.append(socket.create_connection(("127.0.0.1", store.port)))
print(store.clone().get("a"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=20)
    assert (done.stdout, done.stderr) == ("b'1'\n", "")
