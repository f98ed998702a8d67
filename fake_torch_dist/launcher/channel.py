"""Messages between the processes of a launcher: one JSON object a line, and descriptors with it if need be."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from fake_torch_dist.launcher.loop import Loop, Timer

LogMessage = dict[str, Any]
"""``kind`` says what it is."""

_READ_BYTES: Final = 65536
_MOST_DESCRIPTORS: Final = 64
"""That a peer sends with one piece: more than two are never sent with one message."""
_RETRY_S: Final = 0.001
_LONGEST_BYTES: Final = 4 << 20
"""Of one message; a start of thousands of ranks has less."""


class Channel:
    """One end of a stream socket. ``on_message`` is told every message, ``on_end`` that the other end is gone."""

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        on_message: Callable[[LogMessage, Sequence[int]], None],
        on_end: Callable[[], None],
    ) -> None:
        """Descriptors come only over Unix sockets. Who sends anything but messages is treated as gone."""
        self._loop = loop
        self._sock = sock
        self._on_message = on_message
        self._on_end = on_end
        self._received = b""
        self._descriptors: list[int] = []
        self._unsent = bytearray()
        self._retry: Timer | None = None
        self.open = True
        sock.setblocking(False)
        loop.on_readable(sock.fileno(), self._read)

    def send(self, message: Mapping[str, Any], descriptors: Sequence[int] = ()) -> None:
        """Send soon. To an end that is gone nothing is sent; its ``on_end`` says so.

        ``descriptors``, at most 2, come with the message; the caller closes its own. They make this call wait.
        """
        if not self.open:
            return
        data = json.dumps({**message, "descriptors": len(descriptors)}).encode() + b"\n"
        try:
            if descriptors:
                self._send_with(descriptors, data)
            else:
                self._unsent += data
                self._flush()
        except OSError:
            self._unsent.clear()  # its end is read, too

    def close(self) -> None:
        """Without a word, and without ``on_end``."""
        if self.open:
            self.open = False
            self._loop.forget(self._sock.fileno())
            if self._sock.family != socket.AF_UNIX:
                self._leave_nothing_unread()
            self._sock.close()
            for descriptor in self._descriptors:
                os.close(descriptor)

    def _leave_nothing_unread(self) -> None:
        """TCP answers a close with data unread by a reset, which overtakes what was sent last."""
        with suppress(OSError):
            for _ in range(_LONGEST_BYTES // _READ_BYTES):
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
        except BlockingIOError:  # a peer that is busy; messages are few and small
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
                data, descriptors, _, _ = socket.recv_fds(self._sock, _READ_BYTES, _MOST_DESCRIPTORS)
                self._descriptors += descriptors
            else:
                data = self._sock.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        *lines, self._received = (self._received + data).split(b"\n")
        messages = [_message(line) for line in lines]
        if not data or None in messages or len(self._received) > _LONGEST_BYTES:
            self.close()
            self._on_end()
            return
        for message in messages:
            if message is not None:
                self._hand_over(message)

    def _hand_over(self, message: LogMessage) -> None:
        count = message.pop("descriptors")
        descriptors, self._descriptors = self._descriptors[:count], self._descriptors[count:]
        if self.open:
            self._on_message(message, descriptors)


def _message(line: bytes) -> LogMessage | None:
    """None if it is none."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    is_one = isinstance(message, dict) and isinstance(message.get("descriptors"), int) and "kind" in message
    return message if is_one else None
