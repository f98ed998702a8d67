"""Sockets of servers and clients: resolve a host, listen on it, and connect to it."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress

from fake_torch_dist.errors import DistNetworkError
from fake_torch_dist.stores.own_addresses import is_loopback, is_own_address
from fake_torch_dist.stores.resolving import addresses
from fake_torch_dist.stores.timeouts import next_wait_s

LISTEN_FAILED = (  # DistNetworkError, torch 2.13.0
    "The server socket has failed to listen on any local network address. port: {port}, useIpv6: {ipv6}, "
    "code: -{code}, name: {name}, message: {message}"
)


KEEPALIVE_IDLE_S, KEEPALIVE_PROBE_S, KEEPALIVE_PROBES = 8, 4, 3
LOST_HOST_S = KEEPALIVE_IDLE_S + KEEPALIVE_PROBES * KEEPALIVE_PROBE_S
"""Seconds after which the loss of a host without power or network is noticed."""


def keep_alive(connection: socket.socket) -> None:
    """Send short messages at once, and let the kernel probe an idle connection, so that a lost host ends it.

    TCP_USER_TIMEOUT would also end connections to a process that does not read for a while, so it is not set.
    """
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    with suppress(AttributeError, OSError):  # not on every platform
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_PROBE_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)


def listen_for_job(host: str, port: int, token: bytes) -> socket.socket:
    """A socket that listens where all processes of a job reach this host, which the job calls ``host``.

    That is the address of ``host`` alone, if this host has it. With a token, which keeps strangers out, it is every
    address where ``host`` is a name that does not resolve yet, that leads to loopback on this host only, or that
    another host translates (a Service, NAT). DistNetworkError as ``listen``.
    """
    return listen("", port) if token and _is_elsewhere_or_unknown(host) else listen(host, port)


def _is_elsewhere_or_unknown(host: str) -> bool:
    try:
        found = [address for _, (address, *_) in addresses(host, 0)]
    except OSError:
        return True
    if host == "localhost" or host in found:
        return not any(is_own_address(address) for address in found)
    return all(is_loopback(address) or not is_own_address(address) for address in found)


def listen(host: str, port: int, listen_fd: int | None = None) -> socket.socket:
    """A socket that listens on ``host`` alone, at ``port`` or with 0 at a free one; ``""`` is every address.

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
        for family, address in addresses(host, port) if host else _every_address(port):
            try:
                listener = socket.socket(family, socket.SOCK_STREAM)
            except OSError as error:  # no IPv6
                failure = failure or error
                continue
            try:
                if not host and family == socket.AF_INET6:
                    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
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


def _every_address(port: int) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    """The wildcard of IPv6, which takes IPv4 as well, and for a system without IPv6 that of IPv4."""
    return [(socket.AF_INET6, ("::", port)), (socket.AF_INET, ("0.0.0.0", port))]


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
            keep_alive(sock)
            sock.setblocking(False)
            return sock
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
    raise failure or ConnectionRefusedError(f"{host} has no address")
