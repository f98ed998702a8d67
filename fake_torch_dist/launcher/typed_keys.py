"""``TypedKeys``: the keys of the launcher's terminal, for a program in rank 0 that asks for them.

A rank has a session of its own, so the terminal is not its to change. Its standard input stays as torchrun's: nothing
is read from the terminal before rank 0 connects to the socket that its environment names. From then on, and as long as
that connection is open, the terminal echoes nothing, and each key goes to rank 0.
"""

from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress
from typing import Final

from fake_torch_dist.launcher.loop import EventLoop
from fake_torch_dist.stores.connected_user import foreign
from fake_torch_dist.terminal.keyboard import Keyboard

STDIN: Final = 0


class TypedKeys:
    """``take`` and ``give_back`` do nothing while no rank asks for keys."""

    def __init__(self, loop: EventLoop) -> None:
        self._loop = loop
        self._keyboard = Keyboard(STDIN, reads_keys=True)
        self._name = f"fake-torchrun-keys-{os.urandom(16).hex()}"
        self._listener: socket.socket | None = None
        self._rank: socket.socket | None = None
        self._reading = False

    def offer(self) -> str | None:
        """Return the name of the socket to which rank 0 can connect; None if there are no keys to be had."""
        if sys.platform != "linux" or not _is_terminal():  # elsewhere a socket has no name without a file
            return None
        if self._listener is None:
            self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._listener.bind(f"\0{self._name}")
            self._listener.listen(1)
            self._listener.setblocking(False)
            self._loop.on_readable(self._listener.fileno(), self._accept)
        return self._name

    @property
    def wanted(self) -> bool:
        """True while rank 0 is connected."""
        return self._rank is not None

    def _accept(self) -> None:
        assert self._listener
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        if foreign(connection):
            connection.close()
            return
        self._forget_rank()
        connection.setblocking(False)
        self._rank = connection
        self._loop.on_readable(connection.fileno(), self._on_rank)
        self.take()

    def _on_rank(self) -> None:
        """Forget the rank at the end of its connection, on which it sends no data."""
        assert self._rank
        try:
            ended = not self._rank.recv(64)
        except BlockingIOError:
            ended = False
        except OSError:
            ended = True
        if ended:
            self._forget_rank()

    def _forget_rank(self) -> None:
        if self._rank:
            self._loop.forget(self._rank.fileno())
            self._rank.close()
            self._rank = None
        self.give_back()

    def take(self) -> None:
        """Read keys from now on, if a rank has asked for them and this process has the terminal."""
        if self._rank and self._keyboard.hush() and not self._reading:
            self._reading = True
            self._loop.on_readable(STDIN, self._read)

    def give_back(self) -> None:
        """Read no more keys, and leave the terminal as it was."""
        self._leave()
        self._keyboard.restore()

    def _leave(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.forget(STDIN)

    def _read(self) -> None:
        keys = self._keyboard.pressed()
        if not keys:
            self._leave()
        elif self._rank:
            with suppress(OSError):  # a rank that is stopped takes no more after some thousand keys
                self._rank.send(keys, socket.MSG_NOSIGNAL)

    def restore_after_death(self) -> None:
        """Leave the terminal as it was, in the place of a launcher that was killed."""
        if self._listener:
            self._keyboard.unhush()


def _is_terminal() -> bool:
    try:
        return os.isatty(STDIN)
    except OSError:
        return False
