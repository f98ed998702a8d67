"""The server: hostile and dying peers harm nobody else."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fake_torch_dist.stores.authentication import PROTOCOL, Greeting, proof
from fake_torch_dist.stores.frames import FRAME, MAX_GREETING, MAX_MESSAGE, frame
from fake_torch_dist.stores.messages import Kind, Message
from fake_torch_dist.stores.server import StoreServer
from tests.support.store_peer import NONCE, TOKEN, Peer, comes_true


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
    for number in range(8):
        peer.send(Message(Kind.GET, 0, [b"big"]), number)
    works()
    (held,) = (len(other.outgoing) for other in server._clients.members if other.outgoing)
    assert held <= 9 << 20
    for _ in range(8):
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
