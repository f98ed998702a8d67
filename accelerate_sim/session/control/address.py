"""Addresses of sockets below a directory whose path may be longer than a Unix socket's address can be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LONGEST = 100
"""Bytes of a path that every system takes as an address."""


@contextmanager
def address_of(path: Path) -> Iterator[str]:
    """An address of ``path`` to bind or connect to; Linux reaches a long one through a descriptor of its directory."""
    if len(os.fsencode(path)) <= LONGEST:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
