"""A file that is only appended to, in few system calls."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from accelerate_sim.artifacts import plain_file
from fake_torch_dist.terminal.descriptor import write_all

BUFFER_BYTES = 65536


class GrowingFile:
    """Appends to ``path``, a new file or a plain one whose first ``keep_bytes`` stay. OSError if it cannot be opened.

    After an error nothing more is written, because readers of such files stop at the first gap.
    """

    def __init__(self, path: Path, keep_bytes: int = 0) -> None:
        self.path = path
        try:
            self._fd = plain_file.open_to_append(path)
        except FileNotFoundError:
            self._fd = plain_file.create(path)
        os.ftruncate(self._fd, keep_bytes)
        self.size_bytes = keep_bytes
        """Size in bytes, with the data that is not written yet."""
        self._pieces: list[bytes] = []
        self._written_bytes = keep_bytes
        self._has_failed = False

    def append(self, data: bytes) -> None:
        """Add ``data``; it is written once there is enough of it. Raises OSError."""
        self._pieces.append(data)
        self.size_bytes += len(data)
        if self.size_bytes - self._written_bytes >= BUFFER_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write all appended data; after an error the file ends where it ended before. Raises OSError."""
        data = b"".join(self._pieces)
        self._pieces = []
        if self._has_failed:
            return
        try:
            write_all(self._fd, data)
        except OSError:
            self._has_failed = True
            with suppress(OSError):
                os.ftruncate(self._fd, self._written_bytes)
            raise
        self._written_bytes = self.size_bytes

    def close(self) -> None:
        """Close the file without writing the data that is left."""
        os.close(self._fd)
