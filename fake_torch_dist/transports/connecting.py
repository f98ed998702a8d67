"""The beginning of a connection between ranks: one rank connects and greets, the other one checks the greeting.

A greeting proves that its sender holds the secret of the world, which is never sent.
"""

from __future__ import annotations

import hmac
import socket
import struct
from typing import Final

from fake_torch_dist.stores.authentication import mac
from fake_torch_dist.stores.connected_user import foreign
from fake_torch_dist.transports.peer_processes import is_process
from fake_torch_dist.transports.wire import Contact, PeerConnection

_HELLO: Final = struct.Struct("<8sI32s")  # magic, rank, proof
_MAGIC: Final = b"ftdist02"
CONNECT_S: Final = 20.0


def connect_on_host(contact: Contact, rank: int) -> socket.socket:
    """Connect to rank ``rank``, which runs on this host. Raises OSError."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.connect(contact.unix.encode("latin-1"))
    if not is_process(made, contact.pid):  # it ended, and another process has its name
        made.close()
        raise ConnectionRefusedError(f"rank {rank} is gone")
    return made


def connect_to_host(contact: Contact, rank: int, *, own_user_only: bool) -> socket.socket:
    """Connect to rank ``rank`` on another host. Raises OSError."""
    host, _, port = contact.tcp.rpartition(":")
    made = socket.create_connection((host, int(port)), timeout=CONNECT_S)
    if own_user_only and foreign(made):
        made.close()
        raise ConnectionRefusedError(f"what listens in the place of rank {rank} is not ours")
    return made


def greeting(listener: Contact, rank: int, secret: bytes) -> bytes:
    """The greeting of ``rank`` for a listener."""
    return _HELLO.pack(_MAGIC, rank, _proof(listener, rank, secret))


def read_greeting(inbound: PeerConnection, listener: Contact, secret: bytes, num_ranks: int) -> int | None:
    """Return the rank that greets; None if the greeting is malformed or wrong. BlockingIOError while it is
    incomplete."""
    while len(inbound.buffer) < _HELLO.size:
        data = inbound.socket.recv(_HELLO.size - len(inbound.buffer))
        if not data:
            return None
        inbound.buffer += data
    magic, rank, proof = _HELLO.unpack(inbound.buffer)
    inbound.buffer.clear()
    known = magic == _MAGIC and rank < num_ranks
    return rank if known and hmac.compare_digest(proof, _proof(listener, rank, secret)) else None


def _proof(listener: Contact, rank: int, secret: bytes) -> bytes:
    """The code by which a holder of the secret proves to ``listener`` that it is ``rank``."""
    return mac(secret, f"{listener.nonce}/{rank}".encode())
