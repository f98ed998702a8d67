"""Sockets of servers and clients: resolve a host, listen on it, and connect to it."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress

from fake_torch_dist.errors import DistNetworkError
from fake_torch_dist.stores.timeouts import next_wait_s

LISTEN_FAILED = (  # DistNetworkError, torch 2.13.0
    "The server socket has failed to listen on any local network address. port: {port}, useIpv6: {ipv6}, "
    "code: -{code}, name: {name}, message: {message}"
)


def addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    """Addresses of ``host``, IPv4 first, so that a server and its clients use the same one. OSError if unknown."""
    with suppress(OSError):
        socket.inet_pton(socket.AF_INET, host)
        return [(socket.AF_INET, (host, port))]  # resolvers read files
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    pairs = [(family, address) for family, _, _, _, address in found]
    return sorted(dict.fromkeys(pairs), key=lambda pair: pair[0] != socket.AF_INET)  # type: ignore[arg-type]


def listen(host: str, port: int, listen_fd: int | None = None) -> socket.socket:
    """A socket that listens on ``host`` alone, at ``port`` or with 0 at a free one.

    ``listen_fd`` is the descriptor of a bound socket to use instead, listening already or not.
    DistNetworkError, with torch's text, if that fails.
    """
    failure: OSError | None = None
    family = socket.AF_INET
    try:
        if listen_fd is not None:
            given = socket.socket(fileno=listen_fd)
            if not given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                given.listen(4096)
            return given
        for family, address in addresses(host, port):
            listener = socket.socket(family, socket.SOCK_STREAM)
            try:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(address)
                listener.listen(4096)
                return listener
            except OSError as error:
                listener.close()
                failure = failure or error
    except OSError as error:
        failure = error
    if isinstance(failure, socket.gaierror):
        raise DistNetworkError(f"The server socket cannot listen on {host!r}: {failure.strerror}") from failure
    code = abs(failure.errno or 0) if failure else 0
    raise DistNetworkError(
        LISTEN_FAILED.format(
            port=port,
            ipv6=str(family == socket.AF_INET6).lower(),
            code=code,
            name=errno.errorcode.get(code, "unknown"),
            message=os.strerror(code).lower() if code in errno.errorcode else failure,
        )
        + f" (host: {host})"
    ) from failure


def connect(host: str, port: int, deadline: float | None) -> socket.socket:
    """A connection to the first address of ``host`` that accepts one. OSError if none does."""
    failure: OSError | None = None
    for family, address in addresses(host, port):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(None if deadline is None else max(0.001, next_wait_s(deadline)))
            sock.connect(address)
            if sock.getsockname() == sock.getpeername():  # on a free port, TCP can connect a socket with itself
                raise ConnectionRefusedError("nobody listens there")
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setblocking(False)
            return sock
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
    raise failure or ConnectionRefusedError(f"{host} has no address")
