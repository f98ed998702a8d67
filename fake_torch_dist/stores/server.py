"""``StoreServer``: the server of a ``TCPStore``, an object for any selector loop.

Its clients first prove that they belong to the job (``authentication``); without a token, only processes of this user
on this host are admitted (``connected_user``). Then one request at a time is answered under its number (``frames``). A
request that has to wait is parked here until the key has a value; the client measures the time and withdraws the
request with the next one that it sends. There is no pickle, no thread, no timer and no polling.

What it does not do: start a process (``server_process`` does), torch's own wire protocol.
"""

from __future__ import annotations

import hmac
import os
import socket
from typing import Final

from fake_torch_dist.stores.authentication import NONCE_BYTES, PROTOCOL, Greeting, job_token, proof
from fake_torch_dist.stores.clients import Clients
from fake_torch_dist.stores.connected_user import foreign
from fake_torch_dist.stores.gatherings import Gatherings
from fake_torch_dist.stores.key_table import CHANGES, Table
from fake_torch_dist.stores.messages import Kind, Message, encode
from fake_torch_dist.stores.parked_requests import ParkedRequests, Peer

KEPT: Final = b"/outlives restarts/"
"""Beginning of the keys, as a ``TCPStore`` writes them, whose values the ranks of another attempt find."""
NO_RESTART: Final = "outlives restarts/no restart"
"""Key, as a rank gives it to its ``TCPStore``, by which a job does not start again whatever restarts are left."""
TROUBLE: Final = "trouble of the store"
"""Key by which a rank lets the server fail, for jobs that play it: ``reset`` or ``gone`` closes all connections, the
second until ``forget_all``; ``slow`` answers nobody but the one who asks, until that one sets ``over`` or leaves."""


class StoreServer:
    """Serves one table. Register ``fileno()`` for reading in any loop and call ``on_readable()`` when it is.

    ``on_readable`` never blocks and never raises because of a peer: one that sends a malformed message, reads nothing
    or ends loses its connection, without an effect on others. Close it with ``close()``, or use it in ``with``.
    """

    def __init__(self, listener: socket.socket, token: bytes | None = None) -> None:
        """``listener`` belongs to the server from now on. ``token`` None: the environment's, see ``job_token``."""
        self._clients = Clients(listener, self._handle, self._forget)
        self._token = job_token() if token is None else token
        self._table = Table()
        self._gatherings = Gatherings()
        self._parked = ParkedRequests()
        self.port: int = listener.getsockname()[1]
        self.fileno = self._clients.fileno
        """A descriptor that is readable whenever ``on_readable`` has work."""
        self.on_readable = self._clients.on_readable
        self.serve = self._clients.serve
        self.stop_listening = self._clients.stop_listening

    @property
    def num_clients(self) -> int:
        """Number of authenticated connections."""
        return len(self._clients.members)

    def has(self, key: str) -> bool:
        """True if a ``TCPStore`` has set this key."""
        return b"/" + key.encode() in self._table.values

    def forget_all(self) -> None:
        """Empty the table and close all connections, so that the ranks of another attempt find no earlier values.

        Keys that begin with ``KEPT`` stay: ranks leave there what those of another attempt shall find.
        """
        self._clients.refuses_all = False
        self._clients.drop_members()
        kept = {key: value for key, value in self._table.values.items() if key.startswith(KEPT)}
        self._table, self._gatherings, self._parked = Table(), Gatherings(), ParkedRequests()
        self._table.values.update(kept)

    def close(self) -> None:
        """Close all connections."""
        self._clients.close()

    def __enter__(self) -> StoreServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- messages ------------------------------------------------------------------------------------------------------

    def _handle(self, peer: Peer, number: int, message: Message) -> bool:
        """Answer a message; False if its connection has to end."""
        if not peer.trusted:
            return self._greet(peer, number, message)
        self._request(peer, number, message)
        return True

    def _forget(self, peer: Peer) -> None:
        """Let nothing wait for a client that has left."""
        self._parked.unpark(peer)

    def _greet(self, peer: Peer, number: int, message: Message) -> bool:
        """Answer a client that is not authenticated; False if the connection has to end."""
        fields = message.fields
        if message.kind == Greeting.HELLO and not peer.client_nonce:
            if len(fields) != 2 or fields[0] != PROTOCOL or len(fields[1]) != NONCE_BYTES:
                return False
            peer.client_nonce, peer.server_nonce = fields[1], os.urandom(NONCE_BYTES)
            self._clients.send(peer, number, Message(Greeting.CHALLENGE, 0, [peer.server_nonce]))
            return True
        if message.kind != Greeting.PROOF or not peer.client_nonce or len(fields) != 1:
            return False
        nonces = peer.client_nonce, peer.server_nonce
        if not hmac.compare_digest(fields[0], proof(self._token, b"client", *nonces)) or self._is_foreign(peer):
            self._clients.send(peer, number, Message(Greeting.WRONG_TOKEN))
            return False
        self._clients.admit(peer)
        self._clients.send(peer, number, Message(Greeting.WELCOME, 0, [proof(self._token, b"server", *nonces)]))
        return True

    def _is_foreign(self, peer: Peer) -> bool:
        """True if a job without a token must refuse this client."""
        return not self._token and bool(foreign(peer.sock))

    def _request(self, peer: Peer, number: int, message: Message) -> None:
        self._parked.unpark(peer)
        if message.kind == Greeting.WITHDRAW:
            self._clients.send(peer, number, Message(Kind.DONE))
            return
        if message.kind in (Kind.GATHER, Kind.GATHER_COUNTS, Kind.GATHERED):
            self._gather(peer, number, message)
            return
        answer = self._table.answer(message)
        if answer is None:
            self._park(peer, number, message)
            return
        self._clients.send(peer, number, answer)
        if message.kind == Kind.SET and message.fields[0] == b"/" + TROUBLE.encode():
            self._fail(peer, message.fields[1])
            return
        if message.kind in CHANGES and message.kind not in (Kind.DELETE, Kind.POP):
            for key in message.fields[::2] if message.kind == Kind.SET else message.fields[:1]:
                self._retry(key)

    def _gather(self, peer: Peer, number: int, message: Message) -> None:
        gatherings = self._gatherings
        answer = gatherings.answer(message)
        if answer is not None:
            self._clients.send(peer, number, answer)
            return
        key = message.fields[0]
        if not gatherings.is_complete(key):
            self._parked.park(peer, number, Message(Kind.GATHER, message.number, (key,)), key)
            return
        self._clients.send_encoded(peer, number, gatherings.encoded_for(key, message.number))
        for other in self._parked.waiting_for(key):
            if other.parked is not None and other.parked.kind == Kind.GATHER:
                rank = other.parked.number
                self._parked.unpark(other)
                self._clients.send_late(other, other.number, gatherings.encoded_for(key, rank))

    def _park(self, peer: Peer, number: int, message: Message) -> None:
        key = self._table.blocker(message)
        assert key is not None
        self._parked.park(peer, number, message, key)

    def _retry(self, key: bytes) -> None:
        """Answer the requests that waited for ``key``, in the order of arrival."""
        for peer in self._parked.waiting_for(key):
            message, number = peer.parked, peer.number
            if message is None or message.kind == Kind.GATHER:
                continue
            answer = self._table.answer(message)
            self._parked.unpark(peer)
            if answer is None:
                self._park(peer, number, message)
                continue
            self._clients.send_late(peer, number, encode(answer))

    def _fail(self, asker: Peer, how: bytes) -> None:
        """Let the server fail in one of the ways of ``TROUBLE``."""
        if how in (b"reset", b"gone"):
            self._clients.refuses_all = how == b"gone"
            self._clients.drop_members(by_reset=how == b"reset")
        elif how == b"slow":
            self._clients.hear_only(asker)
        elif how == b"over":
            self._clients.hear_all()
