"""The addresses of this host: which one others reach, and whether an address or a name is this host's own."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from fake_torch_dist.stores.resolving import addresses

LOOPBACK: Final = "127.0.0.1"
_OUTSIDE: Final = (("192.0.2.1", socket.AF_INET), ("2001:db8::1", socket.AF_INET6))
"""Addresses for documentation (RFC 5737, RFC 3849), which no host has: the way to them is the default route."""
_GET_INTERFACE_ADDRESS: Final = 0x8915
"""SIOCGIFADDR of Linux."""


def is_loopback(address: str) -> bool:
    """True for the numeric addresses by which a host reaches itself only."""
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def is_numeric(host: str) -> bool:
    """True for an IPv4 or IPv6 address."""
    with suppress(ValueError):
        return bool(ipaddress.ip_address(host.partition("%")[0]))
    return False


def is_own_name(host: str) -> bool:
    """True if ``host`` is this host: by its host name, whether it resolves or not, or by one of its addresses."""
    own = socket.gethostname()
    if host in ("localhost", own) or host.partition(".")[0] == own:
        return True
    with suppress(OSError):
        return any(is_own_address(address[0]) for _, address in addresses(host, 0))
    return False


def is_own_address(address: str) -> bool:
    """True if a socket of this host can have the numeric ``address``."""
    with suppress(OSError), socket.socket(_family(address), socket.SOCK_DGRAM) as probe:
        probe.bind((address, 0))
        return True
    return False


def own_address(towards: str) -> str:
    """The address of this host that the host called ``towards`` reaches it at, and that it also reaches itself at.

    Loopback, if ``towards`` is a loopback address or ``localhost``, or if this host has no other. A name of this host
    that leads to loopback here, as Debian gives every host, has another address elsewhere, so it does not count.
    """
    with suppress(OSError):
        found = addresses(towards or LOOPBACK, 9)[0][1][0]
        if towards in ("", "localhost", found) or not is_loopback(found):
            return _source_towards(found)
    return outer_address()


def outer_address() -> str:
    """An address of this host that is not loopback; loopback if it has none."""
    for address, _ in _OUTSIDE:
        with suppress(OSError):
            return _source_towards(address)
    return next(_interface_addresses(), LOOPBACK)


def _source_towards(address: str) -> str:
    with socket.socket(_family(address), socket.SOCK_DGRAM) as probe:
        probe.connect((address, 9))  # sends nothing
        return str(probe.getsockname()[0])


def _interface_addresses() -> Iterator[str]:
    """Addresses of interfaces, loopback's aside: for a host without a default route."""
    with suppress(ImportError, OSError):
        import fcntl  # not on every platform

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            for _, name in socket.if_nameindex():
                with suppress(OSError):  # it has no address
                    request = struct.pack("40s", name.encode())
                    answer = fcntl.ioctl(asking.fileno(), _GET_INTERFACE_ADDRESS, request)
                    if not is_loopback(address := socket.inet_ntoa(answer[20:24])):
                        yield address
    with suppress(OSError), open("/proc/net/if_inet6") as table:
        for line in table:
            digits, _, _, scope, _, _ = line.split()
            if scope == "00":  # reachable from everywhere
                yield str(ipaddress.IPv6Address(bytes.fromhex(digits)))


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
