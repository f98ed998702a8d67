"""Requests that a server cannot answer yet, by the key that they wait for, in the order of arrival."""

from __future__ import annotations

import socket
import time

from fake_torch_dist.stores.messages import Message


class Peer:
    """A client's connection, and its request that waits, or None."""

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
    """At most one request of each peer, under the key that it waits for."""

    def __init__(self) -> None:
        self._by_key: dict[bytes, dict[Peer, None]] = {}

    def park(self, peer: Peer, number: int, message: Message, key: bytes) -> None:
        """Keep ``message``, whose request has this number, until ``key`` has a value."""
        peer.parked, peer.number = message, number
        self._by_key.setdefault(key, {})[peer] = None

    def unpark(self, peer: Peer) -> None:
        """Remove the request of ``peer``, if it has one here."""
        if peer.parked is None:
            return
        for key in peer.parked.fields:
            waiting = self._by_key.get(key)
            if waiting is not None and waiting.pop(peer, peer) is None and not waiting:
                del self._by_key[key]
        peer.parked = None

    def __len__(self) -> int:
        """Number of keys that requests wait for."""
        return len(self._by_key)

    def waiting_for(self, key: bytes) -> list[Peer]:
        """The peers whose requests wait for ``key``, in the order of arrival."""
        return list(self._by_key.get(key, ()))
