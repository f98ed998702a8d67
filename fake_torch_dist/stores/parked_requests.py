"""Requests that a server cannot answer yet: who waits for which key, in the order in which they came."""

from __future__ import annotations

import socket
import time

from fake_torch_dist.stores.messages import Message


class Peer:
    """One connection, and the request of it that waits, if one does."""

    __slots__ = ("client_nonce", "incoming", "number", "outgoing", "parked", "server_nonce", "since", "sock", "trusted")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.incoming = bytearray()
        self.outgoing = bytearray()
        self.since = time.monotonic()
        self.client_nonce = self.server_nonce = b""
        self.trusted = False
        self.parked: Message | None = None
        self.number = 0


class ParkedRequests:
    """One request of each peer at most, under the key that it waits for."""

    def __init__(self) -> None:
        self._by_key: dict[bytes, dict[Peer, None]] = {}

    def park(self, peer: Peer, number: int, message: Message, key: bytes) -> None:
        """Keep ``message``, whose request has this number, until ``key`` comes."""
        peer.parked, peer.number = message, number
        self._by_key.setdefault(key, {})[peer] = None

    def unpark(self, peer: Peer) -> None:
        """Forget the request of ``peer``, if it has one here."""
        if peer.parked is None:
            return
        for key in peer.parked.fields:
            waiting = self._by_key.get(key)
            if waiting is not None and waiting.pop(peer, peer) is None and not waiting:
                del self._by_key[key]
        peer.parked = None

    def __len__(self) -> int:
        """Number of keys that somebody waits for."""
        return len(self._by_key)

    def waiting_for(self, key: bytes) -> list[Peer]:
        """The peers whose requests wait for ``key``; first come, first."""
        return list(self._by_key.get(key, ()))
