"""``ReadyFile``: a file that exists while all ranks of a launcher run, which a readiness probe can test for."""

from __future__ import annotations

import os
from contextlib import suppress


class ReadyFile:
    """Made when all ranks of an attempt have started, removed when they are told to stop or have ended.

    An empty ``path`` is no file. One that cannot be made is passed over: the probe then fails, which is seen.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._missing = 0
        self.end()

    def begin(self, count: int) -> None:
        """Wait for so many ranks to start."""
        self._missing = count

    def note_started(self) -> None:
        """Note that one more rank has started."""
        self._missing -= 1
        if self._path and self._missing == 0:
            with suppress(OSError), open(self._path, "w", encoding="utf-8") as file:
                file.write(f"{os.getpid()}\n")

    def end(self) -> None:
        """Remove the file, if there is one; a device or a pipe of that name stays."""
        self._missing = -1
        if os.path.isfile(self._path):
            with suppress(OSError):
                os.unlink(self._path)
