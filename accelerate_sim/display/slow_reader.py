"""``SlowReader``: writes to a descriptor whose reader may be slow, may take nothing for long, or may be gone."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable

BLOCKED_S = 0.005
"""Real seconds between two attempts to write to a reader that takes nothing."""


class OutputClosed(Exception):
    """The reader of the output is gone."""


class OutputFull(OutputClosed):
    """The output is a file that takes no more: the disk is full, or a limit of its size is reached."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard output can't be written: {error.strerror}. Free some space, or send it elsewhere.")


def lost_output(error: OSError) -> OutputClosed | None:
    """The exception for an error of writing to the output; None for an error that says nothing about it."""
    if error.errno in (errno.EPIPE, errno.EIO, errno.ECONNRESET):
        return OutputClosed()
    return OutputFull(error) if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else None


class SlowReader:
    """The reader of descriptor ``fd``.

    ``on_blocked`` is called while it takes nothing; it may raise to give up what is left to write. After ``patience_s``
    real seconds it counts as gone.
    """

    def __init__(
        self, fd: int, monotonic: Callable[[], float], on_blocked: Callable[[], None], patience_s: float
    ) -> None:
        self.fd = fd
        self.on_blocked = on_blocked
        self.patience_s = patience_s
        self._monotonic = monotonic

    def write(self, text: bytes) -> None:
        """Write all bytes. Raises OutputClosed.

        Unlike ``write_all``, it serves signals while the reader takes nothing, and gives up on it in the end.
        """
        data = memoryview(text)
        taken_s = self._monotonic()
        while data:
            try:
                data = data[os.write(self.fd, data) :]
                taken_s = self._monotonic()
            except BlockingIOError:
                self.on_blocked()
                if self._monotonic() - taken_s > self.patience_s:
                    raise OutputClosed from None
                time.sleep(BLOCKED_S)  # a terminal can be ready for a byte and refuse two: select() would spin
            except OSError as error:
                if lost := lost_output(error):
                    raise lost from error
                raise
