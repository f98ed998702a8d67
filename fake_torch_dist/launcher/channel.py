"""One end of a stream socket that carries messages, and file descriptors with them over Unix sockets."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, Generic, TypeVar

from fake_torch_dist.launcher.loop import EventLoop, Timer
from fake_torch_dist.launcher.protocol.codec import (
    NotAMessageError,
    Received,
    UnexpectedMessageError,
    WireMessage,
    decode,
    encode,
)

Sent = TypeVar("Sent", bound=WireMessage)

_READ_BYTES: Final = 65536
_MAX_DESCRIPTORS: Final = 64
"""Descriptors taken with one read; a message never has more than two."""
_RETRY_S: Final = 0.001
_MAX_MESSAGE_BYTES: Final = 4 << 20
"""Size of one message; a start of thousands of ranks is smaller."""


class Channel(Generic[Sent, Received]):
    """Calls ``on_message`` with each message and its descriptors, and ``on_end`` when the other end is gone.

    ``known`` are the classes of the messages that come, by their kind. A peer that sends anything else is disconnected
    and treated as gone; ``is_misunderstood`` then tells a peer of another version from other programs.
    """

    def __init__(
        self,
        loop: EventLoop,
        sock: socket.socket,
        known: Mapping[str, type[Received]],
        on_message: Callable[[Received, Sequence[int]], None],
        on_end: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._known = known
        self._on_message = on_message
        self._on_end = on_end
        self._received = b""
        self._descriptors: list[int] = []
        self._unsent = bytearray()
        self._retry: Timer | None = None
        self.is_misunderstood = False
        """The peer sent a message of an unknown kind or with wrong fields."""
        self.open = True
        sock.setblocking(False)
        loop.on_readable(sock.fileno(), self._read)

    @property
    def own_address(self) -> str:
        """Numeric address at which the other end has reached this host, or this one has left it; empty if closed."""
        with suppress(OSError):
            return str(self._sock.getsockname()[0]).removeprefix("::ffff:")
        return ""

    def send(self, message: Sent, descriptors: Sequence[int] = ()) -> None:
        """Send soon. If the other end is gone, nothing is sent, and ``on_end`` is called later.

        At most 2 ``descriptors`` come with the message, and the call then waits; the caller closes its own copies.
        """
        if not self.open:
            return
        data = encode(message, len(descriptors))
        try:
            if descriptors:
                self._send_with(descriptors, data)
            else:
                self._unsent += data
                self._flush()
        except OSError:
            self._unsent.clear()  # the read that follows finds the end

    def close(self) -> None:
        """Close the connection without a message and without ``on_end``."""
        if self.open:
            self.open = False
            self._loop.forget(self._sock.fileno())
            if self._sock.family != socket.AF_UNIX:
                self._drain()
            self._sock.close()
            for descriptor in self._descriptors:
                os.close(descriptor)

    def _drain(self) -> None:
        """Read what is left: TCP answers a close with data unread by a reset, which overtakes what was sent last."""
        with suppress(OSError):
            for _ in range(_MAX_MESSAGE_BYTES // _READ_BYTES):
                if not self._sock.recv(_READ_BYTES):
                    break

    def _send_with(self, descriptors: Sequence[int], data: bytes) -> None:
        self._sock.setblocking(True)
        try:
            self._sock.sendall(self._unsent)
            self._unsent.clear()
            socket.send_fds(self._sock, [data[:1]], descriptors)
            self._sock.sendall(data[1:])
        finally:
            self._sock.setblocking(False)

    def _flush(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: self._sock.send(self._unsent)]
        except BlockingIOError:  # the peer is busy; messages are few and small, so a timer will do
            if self._retry is None:
                self._retry = self._loop.after(_RETRY_S, self._flush_later)

    def _flush_later(self) -> None:
        self._retry = None
        if self.open:
            with suppress(OSError):
                self._flush()

    def _read(self) -> None:
        try:
            if self._sock.family == socket.AF_UNIX:
                data, descriptors, _, _ = socket.recv_fds(self._sock, _READ_BYTES, _MAX_DESCRIPTORS)
                self._descriptors += descriptors
            else:
                data = self._sock.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        *lines, self._received = (self._received + data).split(b"\n")
        messages = self._decoded(lines)
        if not data or messages is None or len(self._received) > _MAX_MESSAGE_BYTES:
            self.close()
            self._on_end()
            return
        for message, count in messages:
            self._deliver(message, count)

    def _decoded(self, lines: Sequence[bytes]) -> list[tuple[Received, int]] | None:
        """Return the messages with their numbers of descriptors; None if a line is none."""
        try:
            return [decode(line, self._known) for line in lines]
        except UnexpectedMessageError:
            self.is_misunderstood = True
        except NotAMessageError:
            pass
        return None

    def _deliver(self, message: Received, count: int) -> None:
        descriptors, self._descriptors = self._descriptors[:count], self._descriptors[count:]
        if self.open:
            self._on_message(message, descriptors)
