"""``AppendedFile``: a file of hazards, each write of which is one system call, so that a kill loses nothing."""

from __future__ import annotations

import os
from pathlib import Path

from accelerate_sim.artifacts import plain_file
from accelerate_sim.artifacts.atomic import explained
from fake_torch_dist.terminal.descriptor import write_all


class AppendedFile:
    """Appends to ``path``, which is made if it is not there. Opening and writing raise OutputError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1
        self.open()

    def open(self) -> None:
        """Open the file that has the path now, in place of the one that was open."""
        self.close()
        with explained(self.path):
            try:
                self._fd = plain_file.open_to_append(self.path)
            except FileNotFoundError:
                os.close(plain_file.create(self.path))
                self._fd = plain_file.open_to_append(self.path)

    def write(self, data: bytes) -> None:
        with explained(self.path):
            write_all(self._fd, data)

    @property
    def size_bytes(self) -> int:
        return os.fstat(self._fd).st_size

    def empty(self) -> None:
        """Truncate the file."""
        with explained(self.path):
            os.ftruncate(self._fd, 0)

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
