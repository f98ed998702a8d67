"""``Clients``: the connections of a store's server, with the bytes of each and the loss of it.

An object for any selector loop. A client that sends a malformed message, reads nothing or ends loses its connection,
without an effect on others.
"""

from __future__ import annotations

import errno
import selectors
import socket
import struct
from collections.abc import Callable
from typing import Final

from fake_torch_dist.stores.frames import MAX_GREETING, MAX_MESSAGE, framed, next_frame
from fake_torch_dist.stores.messages import Kind, Message, encode
from fake_torch_dist.stores.parked_requests import Peer
from fake_torch_dist.stores.sockets import keep_alive

_READ_BYTES: Final = 256 << 10
_CLOSE_BY_RESET: Final = struct.pack("ii", 1, 0)
_MAX_UNAUTHENTICATED: Final = 1024
_GREETING_S: Final = 30.0
"""Seconds after which the oldest unauthenticated connection is closed when another arrives."""


class Clients:
    """Accepts connections to ``listener``, which belongs to it from now on, reads their messages and sends answers."""

    def __init__(
        self, listener: socket.socket, handle: Callable[[Peer, int, Message], bool], leave: Callable[[Peer], None]
    ) -> None:
        """``handle`` gets each message with its number, and returns False if the connection has to end; ``leave`` gets
        each client that is dropped."""
        self._listener = listener
        self._handle_message = handle
        self._leave = leave
        self._unauthenticated: dict[Peer, None] = {}
        self.members: dict[Peer, None] = {}
        """Clients that have authenticated."""
        self._listening = True
        self.refuses_all = False
        """True while new connections are closed at once."""
        self._slow_for: Peer | None = None
        """The client that alone is answered; None: all are."""
        self._unheard: set[Peer] = set()
        self._parent_fd = -1
        listener.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ, None)
        self.fileno = self._selector.fileno

    def on_readable(self) -> None:
        """Handle everything that is ready."""
        self._handle(self._selector.select(0))

    def serve(self, parent_fd: int) -> None:
        """Serve until the pipe ``parent_fd`` has ended and no client is left. From that end on no client can
        connect."""
        self._parent_fd = parent_fd
        self._selector.register(parent_fd, selectors.EVENT_READ, None)
        while self._parent_fd >= 0 or self.members:
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
            elif peer in self.members or peer in self._unauthenticated:  # not dropped meanwhile
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

    def admit(self, peer: Peer) -> None:
        """Let a client that has authenticated send requests."""
        peer.trusted = True
        del self._unauthenticated[peer]
        self.members[peer] = None

    def drop_members(self, *, by_reset: bool = False) -> None:
        """Close the connections of all members, with a reset in place of an end if asked to."""
        for peer in list(self.members):
            if by_reset:
                peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _CLOSE_BY_RESET)
            self._drop(peer)

    def close(self) -> None:
        """Close all connections."""
        self.stop_listening()
        self.drop_members()
        self._selector.close()

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
            if self.refuses_all:
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
        self._leave(peer)
        self._unauthenticated.pop(peer, None)
        self.members.pop(peer, None)
        if peer in self._unheard:
            self._unheard.remove(peer)
        else:
            self._selector.unregister(peer.sock)
        if peer is self._slow_for:
            self.hear_all()
        peer.sock.close()
        if not self._listening and self._listener.fileno() >= 0:
            self._selector.register(self._listener, selectors.EVENT_READ, None)
            self._listening = True

    # -- bytes ---------------------------------------------------------------------------------------------------------

    def send(self, peer: Peer, number: int, message: Message) -> None:
        """Send the answer to the request with this number."""
        self.send_encoded(peer, number, encode(message))

    def send_encoded(self, peer: Peer, number: int, message: bytes) -> None:
        """As ``send``, for a message that is encoded."""
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

    def send_late(self, peer: Peer, number: int, encoded: bytes) -> None:
        """Answer a client that has waited. An error of its connection must not reach the client that is served now."""
        try:
            self.send_encoded(peer, number, encoded)
        except OSError:
            self._drop(peer)

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
            if not self._handle_message(peer, number, message):
                self._drop(peer)
                return

    def _flush(self, peer: Peer) -> None:
        with memoryview(peer.outgoing) as view:
            sent = peer.sock.send(view[: 4 * _READ_BYTES])
        del peer.outgoing[:sent]
        if not peer.outgoing:
            self._selector.modify(peer.sock, selectors.EVENT_READ, peer)

    # -- slow answers --------------------------------------------------------------------------------------------------

    def hear_only(self, one: Peer) -> None:
        """Answer nobody but one client, until it leaves or ``hear_all`` is called. No effect while another is."""
        if self._slow_for is None:
            self._slow_for = one
            self._unheard = {*self.members, *self._unauthenticated} - {one}
            for peer in self._unheard:
                self._selector.unregister(peer.sock)

    def hear_all(self) -> None:
        """Answer all clients."""
        for peer in self._unheard:
            self._selector.register(peer.sock, selectors.EVENT_WRITE if peer.outgoing else selectors.EVENT_READ, peer)
        self._unheard, self._slow_for = set(), None
