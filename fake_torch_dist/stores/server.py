"""``StoreServer``: the server of a ``TCPStore``, an object for any selector loop.

Its clients first prove that they belong to the job (``authentication``); without a token, only processes of this user
on this host are admitted (``connected_user``). Then one request at a time is answered under its number (``frames``). A
request that has to wait is parked here until the key has a value; the client measures the time and withdraws the
request with the next one that it sends. There is no pickle, no thread, no timer and no polling.

What it does not do: start a process (``server_process`` does), torch's own wire protocol.
"""

from __future__ import annotations

import errno
import hmac
import os
import selectors
import socket
import struct
from typing import Final

from fake_torch_dist.stores.authentication import NONCE_BYTES, PROTOCOL, Greeting, job_token, proof
from fake_torch_dist.stores.connected_user import foreign
from fake_torch_dist.stores.frames import MAX_GREETING, MAX_MESSAGE, framed, next_frame
from fake_torch_dist.stores.gatherings import Gatherings
from fake_torch_dist.stores.key_table import CHANGES, Table
from fake_torch_dist.stores.messages import Kind, Message, encode
from fake_torch_dist.stores.parked_requests import ParkedRequests, Peer
from fake_torch_dist.stores.sockets import keep_alive

KEPT: Final = b"/outlives restarts/"
"""Beginning of the keys, as a ``TCPStore`` writes them, whose values the ranks of another attempt find."""
NO_RESTART: Final = "outlives restarts/no restart"
"""Key, as a rank gives it to its ``TCPStore``, by which a job does not start again whatever restarts are left."""
TROUBLE: Final = "trouble of the store"
"""Key by which a rank lets the server fail, for jobs that play it: ``reset`` or ``gone`` closes all connections, the
second until ``forget_all``; ``slow`` answers nobody but the one who asks, until that one sets ``over`` or leaves."""
_READ_BYTES: Final = 256 << 10
_CLOSE_BY_RESET: Final = struct.pack("ii", 1, 0)
_MAX_UNAUTHENTICATED: Final = 1024
_GREETING_S: Final = 30.0
"""Seconds after which the oldest unauthenticated connection is closed when another arrives."""


class StoreServer:
    """Serves one table. Register ``fileno()`` for reading in any loop and call ``on_readable()`` when it is.

    ``on_readable`` never blocks and never raises because of a peer: one that sends a malformed message, reads nothing
    or ends loses its connection, without an effect on others. Close it with ``close()``, or use it in ``with``.
    """

    def __init__(self, listener: socket.socket, token: bytes | None = None) -> None:
        """``listener`` belongs to the server from now on. ``token`` None: the environment's, see ``job_token``."""
        self._listener = listener
        self._token = job_token() if token is None else token
        self._table = Table()
        self._gatherings = Gatherings()
        self._unauthenticated: dict[Peer, None] = {}
        self._members: dict[Peer, None] = {}
        self._parked = ParkedRequests()
        self._listening = True
        self._is_gone = False
        self._slow_for: Peer | None = None
        """The client that alone is answered; None: all are."""
        self._unheard: set[Peer] = set()
        self._parent_fd = -1
        self.port: int = listener.getsockname()[1]
        listener.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ, None)

    @property
    def num_clients(self) -> int:
        """Number of authenticated connections."""
        return len(self._members)

    def fileno(self) -> int:
        """A descriptor that is readable whenever ``on_readable`` has work."""
        return self._selector.fileno()

    def on_readable(self) -> None:
        """Handle everything that is ready."""
        self._handle(self._selector.select(0))

    def serve(self, parent_fd: int) -> None:
        """Serve until the pipe ``parent_fd`` has ended and no client is left. From that end on no client can
        connect."""
        self._parent_fd = parent_fd
        self._selector.register(parent_fd, selectors.EVENT_READ, None)
        while self._parent_fd >= 0 or self._members:
            self._handle(self._selector.select())

    def _handle(self, ready: list[tuple[selectors.SelectorKey, int]]) -> None:
        for key, events in ready:
            peer: Peer | None = key.data
            if key.fd == self._parent_fd:  # nothing is ever written there, so this is the end
                self._selector.unregister(key.fd)
                self._parent_fd = -1
                self.stop_listening()
            elif peer is None:
                self._accept()
            elif peer in self._members or peer in self._unauthenticated:  # not dropped meanwhile
                try:
                    self._on_event(peer, events)
                except (OSError, ValueError, MemoryError):
                    self._drop(peer)

    def stop_listening(self) -> None:
        """Accept no more connections; authenticated ones stay."""
        if self._listening:
            self._selector.unregister(self._listener)
        self._listening = False
        self._listener.close()
        for peer in list(self._unauthenticated):
            self._drop(peer)

    def has(self, key: str) -> bool:
        """True if a ``TCPStore`` has set this key."""
        return b"/" + key.encode() in self._table.values

    def forget_all(self) -> None:
        """Empty the table and close all connections, so that the ranks of another attempt find no earlier values.

        Keys that begin with ``KEPT`` stay: ranks leave there what those of another attempt shall find.
        """
        self._is_gone = False
        for peer in list(self._members):
            self._drop(peer)
        kept = {key: value for key, value in self._table.values.items() if key.startswith(KEPT)}
        self._table, self._gatherings, self._parked = Table(), Gatherings(), ParkedRequests()
        self._table.values.update(kept)

    def close(self) -> None:
        """Close all connections."""
        self.stop_listening()
        for peer in list(self._members):
            self._drop(peer)
        self._selector.close()

    def __enter__(self) -> StoreServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- connections ---------------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        for _ in range(64):
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._make_room()
                return
            if self._is_gone:
                sock.close()
                continue
            peer = Peer(sock)
            sock.setblocking(False)
            if sock.family in (socket.AF_INET, socket.AF_INET6):
                keep_alive(sock)
            self._selector.register(sock, selectors.EVENT_READ, peer)
            self._unauthenticated[peer] = None
            oldest = next(iter(self._unauthenticated))
            if len(self._unauthenticated) > _MAX_UNAUTHENTICATED or peer.since - oldest.since > _GREETING_S:
                self._drop(oldest)

    def _make_room(self) -> None:
        """Close the oldest unauthenticated connection, as no descriptor is left; without one, stop accepting until a
        client leaves."""
        if self._unauthenticated:
            self._drop(next(iter(self._unauthenticated)))
        elif self._listening:
            self._selector.unregister(self._listener)
            self._listening = False

    def _drop(self, peer: Peer) -> None:
        self._parked.unpark(peer)
        self._unauthenticated.pop(peer, None)
        self._members.pop(peer, None)
        if peer in self._unheard:
            self._unheard.remove(peer)
        else:
            self._selector.unregister(peer.sock)
        if peer is self._slow_for:
            self._hear_all()
        peer.sock.close()
        if not self._listening and self._listener.fileno() >= 0:
            self._selector.register(self._listener, selectors.EVENT_READ, None)
            self._listening = True

    def _on_event(self, peer: Peer, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._flush(peer)
        elif events & selectors.EVENT_READ:
            data = peer.sock.recv(_READ_BYTES if peer.trusted else MAX_GREETING)
            if not data:
                raise ConnectionResetError("end of stream")
            peer.incoming += data
        while not peer.outgoing:  # a client that does not read its answers gets no more
            found = next_frame(peer.incoming, MAX_MESSAGE if peer.trusted else MAX_GREETING)
            if found is None:
                return
            number, message = found
            if peer.trusted:
                self._request(peer, number, message)
            elif not self._greet(peer, number, message):
                self._drop(peer)
                return

    def _send(self, peer: Peer, number: int, message: Message) -> None:
        self._send_encoded(peer, number, encode(message))

    def _send_encoded(self, peer: Peer, number: int, message: bytes) -> None:
        try:
            data = framed(number, message)
        except ValueError as error:
            data = framed(number, encode(Message(Kind.REFUSED, 0, [str(error).encode()])))
        try:
            sent = peer.sock.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            peer.outgoing += memoryview(data)[sent:]
            self._selector.modify(peer.sock, selectors.EVENT_WRITE, peer)

    def _flush(self, peer: Peer) -> None:
        with memoryview(peer.outgoing) as view:
            sent = peer.sock.send(view[: 4 * _READ_BYTES])
        del peer.outgoing[:sent]
        if not peer.outgoing:
            self._selector.modify(peer.sock, selectors.EVENT_READ, peer)

    # -- messages ------------------------------------------------------------------------------------------------------

    def _greet(self, peer: Peer, number: int, message: Message) -> bool:
        """Answer a client that is not authenticated; False if the connection has to end."""
        fields = message.fields
        if message.kind == Greeting.HELLO and not peer.client_nonce:
            if len(fields) != 2 or fields[0] != PROTOCOL or len(fields[1]) != NONCE_BYTES:
                return False
            peer.client_nonce, peer.server_nonce = fields[1], os.urandom(NONCE_BYTES)
            self._send(peer, number, Message(Greeting.CHALLENGE, 0, [peer.server_nonce]))
            return True
        if message.kind != Greeting.PROOF or not peer.client_nonce or len(fields) != 1:
            return False
        nonces = peer.client_nonce, peer.server_nonce
        if not hmac.compare_digest(fields[0], proof(self._token, b"client", *nonces)) or self._is_foreign(peer):
            self._send(peer, number, Message(Greeting.WRONG_TOKEN))
            return False
        peer.trusted = True
        del self._unauthenticated[peer]
        self._members[peer] = None
        self._send(peer, number, Message(Greeting.WELCOME, 0, [proof(self._token, b"server", *nonces)]))
        return True

    def _is_foreign(self, peer: Peer) -> bool:
        """True if a job without a token must refuse this client."""
        return not self._token and bool(foreign(peer.sock))

    def _request(self, peer: Peer, number: int, message: Message) -> None:
        self._parked.unpark(peer)
        if message.kind == Greeting.WITHDRAW:
            self._send(peer, number, Message(Kind.DONE))
            return
        if message.kind in (Kind.GATHER, Kind.GATHER_COUNTS, Kind.GATHERED):
            self._gather(peer, number, message)
            return
        answer = self._table.answer(message)
        if answer is None:
            self._park(peer, number, message)
            return
        self._send(peer, number, answer)
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
            self._send(peer, number, answer)
            return
        key = message.fields[0]
        if not gatherings.is_complete(key):
            self._parked.park(peer, number, Message(Kind.GATHER, message.number, (key,)), key)
            return
        self._send_encoded(peer, number, gatherings.encoded_for(key, message.number))
        for other in self._parked.waiting_for(key):
            if other.parked is not None and other.parked.kind == Kind.GATHER:
                rank = other.parked.number
                self._parked.unpark(other)
                self._answer_late(other, other.number, gatherings.encoded_for(key, rank))

    def _answer_late(self, peer: Peer, number: int, encoded: bytes) -> None:
        """Answer a client that has waited. An error of its connection must not reach the client that is served now."""
        try:
            self._send_encoded(peer, number, encoded)
        except OSError:
            self._drop(peer)

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
            self._answer_late(peer, number, encode(answer))

    # -- trouble -------------------------------------------------------------------------------------------------------

    def _fail(self, asker: Peer, how: bytes) -> None:
        if how in (b"reset", b"gone"):
            self._is_gone = how == b"gone"
            for peer in list(self._members):
                if how == b"reset":
                    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _CLOSE_BY_RESET)
                self._drop(peer)
        elif how == b"slow" and not self._slow_for:
            self._slow_for = asker
            self._unheard = {*self._members, *self._unauthenticated} - {asker}
            for peer in self._unheard:
                self._selector.unregister(peer.sock)
        elif how == b"over":
            self._hear_all()

    def _hear_all(self) -> None:
        for peer in self._unheard:
            self._selector.register(peer.sock, selectors.EVENT_WRITE if peer.outgoing else selectors.EVENT_READ, peer)
        self._unheard, self._slow_for = set(), None
