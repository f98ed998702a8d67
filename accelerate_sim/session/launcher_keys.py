"""``LauncherKeys``: the keys that fake-torchrun reads from its terminal for rank 0, over a socket.

As long as the connection is open, the launcher reads keys and lets the terminal echo nothing.
"""

from __future__ import annotations

import socket
from contextlib import suppress

LONGEST = 4096
"""Bytes of keys that are read at once."""


class LauncherKeys:
    """The keys of one launcher, which listens at ``address``."""

    def __init__(self, address: str) -> None:
        self._address = f"\0{address}"
        self._connection: socket.socket | None = None

    @property
    def fd(self) -> int:
        """Descriptor of the connection; -1 while there is none."""
        return self._connection.fileno() if self._connection else -1

    def hush(self) -> bool:
        """Ask the launcher for keys. False if it has gone."""
        if self._connection is None:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.connect(self._address)
            except OSError:
                connection.close()
                return False
            connection.setblocking(False)
            self._connection = connection
        return True

    def pressed(self) -> bytes:
        """The keys that have come; empty if the launcher gives no more."""
        with suppress(OSError):
            return self._connection.recv(LONGEST) if self._connection else b""
        return b""

    def restore(self) -> None:
        """Let the launcher leave the terminal as it was."""
        if self._connection:
            self._connection.close()
            self._connection = None
