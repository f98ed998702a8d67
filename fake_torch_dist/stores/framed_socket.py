"""``FramedSocket``: requests to a store's server and its answers, as frames on one socket."""

from __future__ import annotations

import errno
import math
import select
import socket
import time
from typing import Final

from fake_torch_dist.errors import DistNetworkError
from fake_torch_dist.stores.frames import frame, next_frame
from fake_torch_dist.stores.messages import Message
from fake_torch_dist.stores.timeouts import next_wait_s

# torch 2.13.0
CONNECTION_CLOSED = (  # DistNetworkError
    "Failed to recv, got 0 bytes. Connection was likely closed. Did the remote server shutdown or crash?"
)
CONNECTION_RESET = "Connection reset by peer"  # DistNetworkError
BROKEN_PIPE = "Broken pipe"  # DistNetworkError

# Ours
NO_ANSWER = "the store at {host}:{port} is connected but has not reacted for {seconds:g} seconds"  # DistNetworkError

LONGEST_GRACE_S: Final = 10.0
"""The longest time in which a server has to react; a slower one counts as dead."""
_READ_BYTES: Final = 1 << 16


class FramedSocket:
    """Sends requests and receives their answers. DistNetworkError if the connection breaks; it stays broken."""

    def __init__(self, host: str, port: int) -> None:
        """``host`` and ``port`` are the server's name in errors."""
        self._name = {"host": host, "port": port}
        self._number = 0
        self._incoming = bytearray()
        self._poll = select.poll()
        self._sock: socket.socket | None = None

    def close(self) -> None:
        """Close the connection; later calls fail."""
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()

    def _hold(self, sock: socket.socket) -> None:
        """Use a socket that has just been connected."""
        self._incoming.clear()
        self._sock = sock
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    def _send(self, message: Message, limit_s: float = LONGEST_GRACE_S) -> int:
        """Send it all, however long that takes, as long as the server goes on reading; the request's number.

        ``limit_s``: after so long without reading, DistNetworkError.
        """
        self._number = (self._number + 1) & 0xFFFFFFFF
        data = memoryview(frame(self._number, message))
        sock = self._open_socket()
        try:
            data = data[sock.send(data) :]
        except BlockingIOError:
            pass
        except OSError as error:
            self.close()
            raise DistNetworkError(CONNECTION_RESET if _was_reset(error) else BROKEN_PIPE) from error
        if data:
            self._send_rest(sock, data, limit_s)
        return self._number

    def _send_rest(self, sock: socket.socket, data: memoryview, limit_s: float) -> None:
        """Send the rest of a request, and read meanwhile: a server with an unread answer for this client reads no
        more."""
        both = select.poll()
        both.register(sock, select.POLLIN | select.POLLOUT)
        try:
            while data:
                events = both.poll(limit_s * 1000)
                if not events:
                    raise DistNetworkError(NO_ANSWER.format(seconds=limit_s, **self._name))
                if events[0][1] & select.POLLOUT:
                    data = data[sock.send(data) :]
                if events[0][1] & ~select.POLLOUT:
                    self._read(sock)
        except OSError as error:
            self.close()
            raise DistNetworkError(CONNECTION_RESET if _was_reset(error) else BROKEN_PIPE) from error
        except BaseException:  # half a request has been sent
            self.close()
            raise

    def _receive(self, wanted: tuple[int, ...], deadline: float | None, limit: int) -> tuple[int, Message] | None:
        """The first answer to one of the ``wanted`` requests; None at the deadline. Other answers are dropped."""
        sock = self._open_socket()
        try:
            while True:
                while (found := next_frame(self._incoming, limit)) is not None:
                    if found[0] in wanted:
                        return found
                if self._poll.poll(math.ceil(next_wait_s(deadline) * 1000)):
                    self._read(sock)
                elif deadline is not None and time.monotonic() >= deadline:
                    return None
        except (OSError, ValueError) as error:
            self.close()
            raise DistNetworkError(CONNECTION_RESET if _was_reset(error) else CONNECTION_CLOSED) from error

    def _read(self, sock: socket.socket) -> None:
        data = sock.recv(_READ_BYTES)
        if not data:
            raise ConnectionResetError("end of stream")
        self._incoming += data

    def _open_socket(self) -> socket.socket:
        if self._sock is None:
            raise DistNetworkError(BROKEN_PIPE)
        return self._sock


def _was_reset(error: Exception) -> bool:
    """True if the other end has aborted the connection; an end of stream has no number."""
    return isinstance(error, OSError) and error.errno == errno.ECONNRESET
