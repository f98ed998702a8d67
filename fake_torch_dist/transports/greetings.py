"""``Greetings``: the first bytes of a connection, by which the rank that connects proves that it is one of the world.

They name the rank and prove that it holds the secret of the world, which is never sent.
"""

from __future__ import annotations

import hmac
import os
import struct
from typing import Final

from fake_torch_dist.stores.authentication import mac
from fake_torch_dist.transports.contacts import Contact
from fake_torch_dist.transports.wire import PeerConnection

_HELLO: Final = struct.Struct("<8sI32s")  # magic, rank, proof
_MAGIC: Final = b"ftdist02"


class Greetings:
    """Makes and checks greetings. Until the secret of the world is known, those of other ranks are refused."""

    def __init__(self) -> None:
        self.secret = os.urandom(32)

    def of(self, rank: int, listener: Contact) -> bytes:
        """The greeting of ``rank`` to a listener."""
        return _HELLO.pack(_MAGIC, rank, self._proof(listener, rank))

    def read(self, inbound: PeerConnection, listener: Contact, world_size: int) -> bool:
        """Read a greeting to ``listener``, and set the connection's rank.

        False if it is malformed or wrong, BlockingIOError while it is incomplete.
        """
        while len(inbound.buffer) < _HELLO.size:
            data = inbound.socket.recv(_HELLO.size - len(inbound.buffer))
            if not data:
                return False
            inbound.buffer += data
        magic, rank, proof = _HELLO.unpack(inbound.buffer)
        inbound.buffer.clear()
        known = magic == _MAGIC and rank < world_size
        if not known or not hmac.compare_digest(proof, self._proof(listener, rank)):
            return False
        inbound.rank = rank
        return True

    def _proof(self, listener: Contact, rank: int) -> bytes:
        """The code by which a holder of the secret proves to ``listener`` that it is ``rank``."""
        return mac(self.secret, b"%s/%d" % (listener.name, rank))
