"""``ControlServer``: a Unix socket that is served in the waits of the session's clock, without a thread.

A request is one line of JSON, ``{"do": "pause"}``, and so is the answer: ``{"text": ...}`` or ``{"error": ...}``.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate_sim.process.runtime_directory import UnsafeDirectory, control_socket, make_runtime_directory
from accelerate_sim.session.control.address import address_of
from accelerate_sim.session.control.commands import RefusedCommand, answer

if TYPE_CHECKING:
    from accelerate_sim.session.session import Session

LONGEST = 8192
"""Bytes of a request."""


class ControlServer:
    """The socket of one session. Requests of other users are not answered."""

    def __init__(self, session: Session, directory: Path) -> None:
        """Raises OSError if the socket cannot be made."""
        self._session = session
        self._requests: dict[int, tuple[socket.socket, bytearray]] = {}
        self.path = control_socket(directory, os.getpid())
        with suppress(FileNotFoundError):
            self.path.unlink()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            with address_of(self.path) as address:
                self._socket.bind(address)
        finally:
            os.umask(before)
        self._socket.listen(8)
        self._socket.setblocking(False)
        session.signals.serve(self._socket.fileno(), select.POLLIN, self._accept)

    def close(self) -> None:
        """Stop serving, and remove the socket."""
        for fd in list(self._requests):
            self._forget(fd)
        self._session.signals.dismiss(self._socket.fileno())
        self._socket.close()
        with suppress(OSError):
            self.path.unlink()

    def _accept(self) -> None:
        try:
            connection, _ = self._socket.accept()
        except OSError:
            return
        connection.setblocking(False)
        if _uid_of_peer(connection) != os.getuid():
            connection.close()
            return
        fd = connection.fileno()
        self._requests[fd] = connection, bytearray()
        self._session.signals.serve(fd, select.POLLIN, lambda: self._read(fd))

    def _read(self, fd: int) -> None:
        connection, request = self._requests[fd]
        try:
            data = connection.recv(LONGEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        request += data
        if data and b"\n" not in request and len(request) < LONGEST:
            return
        if b"\n" in request:
            reply = _reply(self._session, bytes(request))
            with suppress(OSError):
                connection.send(json.dumps(reply).encode() + b"\n")
        self._forget(fd)

    def _forget(self, fd: int) -> None:
        connection, _ = self._requests.pop(fd)
        self._session.signals.dismiss(fd)
        connection.close()


def open_control(session: Session) -> ControlServer | None:
    """The control of a session; None where no directory of the user's own can be had."""
    try:
        return ControlServer(session, make_runtime_directory())
    except (UnsafeDirectory, OSError, AttributeError):  # some systems have neither Unix sockets nor users
        return None


def _reply(session: Session, line: bytes) -> dict[str, Any]:
    try:
        request = json.loads(line)
        return answer(session, str(request["do"]), str(request.get("value", "")))
    except RefusedCommand as refused:
        return {"error": str(refused)}
    except (ValueError, KeyError, TypeError):
        return {"error": "this is no request"}


def _uid_of_peer(connection: socket.socket) -> int:
    if not hasattr(socket, "SO_PEERCRED"):
        return os.getuid()  # the mode of the socket and of its directory has to be enough
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])
