"""A file that only grows, written in few calls."""

from __future__ import annotations

import os
from pathlib import Path

BUFFER_BYTES = 65536


class GrowingFile:
    """Appends to ``path``; what it holds beyond its first ``keep_bytes`` is dropped. OSError if it can't be written."""

    def __init__(self, path: Path, keep_bytes: int = 0) -> None:
        self.path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        os.ftruncate(self._fd, keep_bytes)
        self.size_bytes = keep_bytes
        """With what is not written yet."""
        self._pieces: list[bytes] = []
        self._waiting_bytes = 0

    def append(self, data: bytes) -> None:
        self._pieces.append(data)
        self._waiting_bytes += len(data)
        self.size_bytes += len(data)
        if self._waiting_bytes >= BUFFER_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what has been appended; what can't be written is given up."""
        data = memoryview(b"".join(self._pieces))
        self._pieces, self._waiting_bytes = [], 0
        while data:
            data = data[os.write(self._fd, data) :]

    def close(self) -> None:
        """End without writing what is left."""
        os.close(self._fd)
