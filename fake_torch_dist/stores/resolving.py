"""``addresses``: the numeric addresses of a host's name."""

from __future__ import annotations

import socket
from contextlib import suppress


def addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    """Addresses of ``host``, IPv4 first, so that a server and its clients use the same one. OSError if unknown."""
    with suppress(OSError):
        socket.inet_pton(socket.AF_INET, host)
        return [(socket.AF_INET, (host, port))]  # resolvers read files
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    pairs = [(family, address) for family, _, _, _, address in found]
    # Addresses of TCP begin with host and port; typeshed's are those of all families.
    return sorted(dict.fromkeys(pairs), key=lambda pair: pair[0] != socket.AF_INET)  # type: ignore[arg-type]
