"""A small HTTP server for scrapes, run by the session's waiting loop, which no client can slow down or stop.

It has at most 64 connections, gives each 5 s to send its request and 10 s to take the next piece of the answer, and
spends at most a tenth of the time on making answers, independent of the number of clients. What it does not do: HTTP
beyond one GET a connection, TLS.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

from accelerate_sim.process.signals import Signals

LONGEST_REQUEST_BYTES: Final = 65536
MOST_CONNECTIONS: Final = 64
"""Most connections. One more closes the oldest that has not sent its request, or else the oldest."""
HEALTH_PATH: Final = b"/healthz"
"""Path that says whether the run goes on, for liveness probes."""
REQUEST_S: Final = 5.0
ANSWER_S: Final = 10.0
"""Real seconds after which a client that has taken nothing of its answer is closed."""
_BACKLOG: Final = 1024
_AT_ONCE: Final = 1024
"""Most connections that are accepted in one turn of the waiting loop."""
_REST: Final = 9.0
"""An answer is used again for this many times the time that it took to make."""
_OTHER_NAME: Final = (
    b"The Host header names another host: ask for localhost, an address, or the name in log.prometheus_address.\n"
)
_NO_DESCRIPTOR: Final = (errno.EMFILE, errno.ENFILE)


class ScrapeServer:
    """Answers GET ``path`` on ``address`` (host:port) with what ``make`` returns, and / with both paths.

    /healthz is answered with 200 and ok, or with 503 and the reason that ``ailment`` returns. OSError if the address
    is in use.

    On a loopback address, requests for another host name are refused, so that no web page can read the answer through
    a name of its own that leads here (DNS rebinding).
    """

    def __init__(
        self,
        signals: Signals,
        address: str,
        path: str,
        content_type: str,
        make: Callable[[], str],
        ailment: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._signals, self._make, self._ailment = signals, make, ailment
        self._path, self._content_type = path.encode(), content_type
        self._listener = _listener(address)
        self._listener.setblocking(False)
        self._host = address.rpartition(":")[0].strip("[]").lower()
        self._only_local = ipaddress.ip_address(self._listener.getsockname()[0].partition("%")[0]).is_loopback
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        """A spare descriptor, closed when none is free, so that a connection can be accepted and closed."""
        self._connections: dict[int, _Connection] = {}
        self._body, self._fresh_until_s = b"", 0.0
        signals.serve(self._listener.fileno(), select.POLLIN, self._accept)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def close(self) -> None:
        """Close all connections and stop listening."""
        if self._listener.fileno() < 0:
            return
        for connection in list(self._connections.values()):
            self._drop(connection)
        self._signals.dismiss(self._listener.fileno())
        self._signals.call_at(None, self._drop_late)
        self._listener.close()
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1

    # --- Connections ----------------------------------------------------------------------------

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                peer, _ = self._listener.accept()
            except OSError as error:
                if error.errno not in _NO_DESCRIPTOR or not self._turn_away():
                    return
                continue
            peer.setblocking(False)
            connection = _Connection(peer, time.monotonic() + REQUEST_S)
            self._connections[peer.fileno()] = connection
            self._signals.serve(peer.fileno(), select.POLLIN, partial(self._read, connection))
            self._read(connection)  # most requests are here already
            if len(self._connections) > MOST_CONNECTIONS:
                held = self._connections.values()
                self._drop(next((each for each in held if not each.unsent), next(iter(held))))
            self._set_alarm()

    def _turn_away(self) -> bool:
        """Accept and close a connection when no descriptor is free; otherwise the selector would report it for ever."""
        done = False
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1
        with suppress(OSError):
            self._listener.accept()[0].close()
            done = True
        with suppress(OSError):
            self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        return done

    def _set_alarm(self) -> None:
        until_s = min((each.until_s for each in self._connections.values()), default=None)
        self._signals.call_at(until_s, self._drop_late)

    def _drop_late(self) -> None:
        now_s = time.monotonic()
        for connection in [each for each in self._connections.values() if each.until_s <= now_s]:
            self._drop(connection)
        self._set_alarm()

    def _read(self, connection: _Connection) -> None:
        try:
            data = connection.peer.recv(LONGEST_REQUEST_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        connection.request += data
        if not data or len(connection.request) > LONGEST_REQUEST_BYTES:
            self._drop(connection)
        elif b"\r\n\r\n" in connection.request:
            connection.unsent = [memoryview(part) for part in self._answer(bytes(connection.request)) if part]
            connection.until_s = time.monotonic() + ANSWER_S
            self._signals.dismiss(connection.peer.fileno())
            self._signals.serve(connection.peer.fileno(), select.POLLOUT, partial(self._send, connection))
            self._send(connection)

    def _send(self, connection: _Connection) -> None:
        try:
            while connection.unsent:
                connection.sent(connection.peer.sendmsg(connection.unsent))
                connection.until_s = time.monotonic() + ANSWER_S
        except BlockingIOError:
            return
        except OSError:  # the reader has gone
            pass
        self._drop(connection)

    def _drop(self, connection: _Connection) -> None:
        fd = connection.peer.fileno()
        self._signals.dismiss(fd)
        del self._connections[fd]
        connection.peer.close()

    # --- HTTP -----------------------------------------------------------------------------------

    def _answer(self, request: bytes) -> tuple[bytes, bytes]:
        """The head and the body of an answer; all clients share the memory of the body."""
        head = request.partition(b"\r\n\r\n")[0]
        method, _, rest = head.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        status, body = "200 OK", b""
        if method not in (b"GET", b"HEAD"):
            status = "405 Method Not Allowed"
        elif not all(self._is_ours(name) for name in _hosts(head)):
            status = "403 Forbidden"
            body = _OTHER_NAME
        elif path == self._path:
            body = self._fresh()
        elif path == HEALTH_PATH:
            ailment = self._ailment()
            status = "503 Service Unavailable" if ailment else status
            body = f"{ailment or 'ok'}\n".encode()
        elif path == b"/":
            body = b"Simulated metrics: " + self._path + b"\nHealth: " + HEALTH_PATH + b"\n"
        else:
            status = "404 Not Found"
        said = f"HTTP/1.1 {status}\r\nContent-Type: {self._content_type}\r\nContent-Length: {len(body)}\r\n"
        return said.encode() + b"Connection: close\r\n\r\n", b"" if method == b"HEAD" else body

    def _is_ours(self, host: str) -> bool:
        """Return True if a Host header names this exporter; a page that uses DNS rebinding has another name."""
        name = host.rpartition(":")[0] if _has_port(host) else host
        name = name.strip("[]").lower().removesuffix(".")
        if not self._only_local or name in ("localhost", self._host):
            return True
        with suppress(ValueError):
            return bool(ipaddress.ip_address(name.partition("%")[0]))
        return False

    def _fresh(self) -> bytes:
        """The body of the answer; an older one if making it would take too large a share of the time."""
        begin_s = time.monotonic()
        if begin_s >= self._fresh_until_s:
            self._body = self._make().encode()
            end_s = time.monotonic()
            self._fresh_until_s = end_s + _REST * (end_s - begin_s)
        return self._body


class _Connection:
    """One client's connection; it is closed if nothing moves until ``until_s``."""

    def __init__(self, peer: socket.socket, until_s: float) -> None:
        self.peer = peer
        self.until_s = until_s
        self.request = bytearray()
        self.unsent: list[memoryview] = []
        """Bytes of the answer that are still to be sent; empty before the request is complete."""

    def sent(self, count: int) -> None:
        """Drop the first bytes of the answer, which the client has taken."""
        while self.unsent and count >= len(self.unsent[0]):
            count -= len(self.unsent.pop(0))
        if count:
            self.unsent[0] = self.unsent[0][count:]


def _hosts(head: bytes) -> list[str]:
    """Values of the request's Host headers; a request of HTTP/1.0 may have none."""
    lines = head.decode("latin-1").split("\r\n")[1:]
    headers = (line.partition(":") for line in lines)
    return [value.strip() for name, _, value in headers if name.strip().lower() == "host"]


def _has_port(host: str) -> bool:
    return host.rpartition("]")[2].count(":") == 1


def _listener(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    kind = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, int(port)), family=kind, backlog=_BACKLOG)
