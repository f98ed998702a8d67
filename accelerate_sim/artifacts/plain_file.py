"""Opens, reads and writes plain files, safely where a link, a pipe or a directory may have the name.

A new file never replaces the target of a link, and no open waits for the other end of a pipe.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path


class NotPlain(OSError):
    """The name belongs to something other than a plain file. ``strerror`` says so."""

    def __init__(self, path: Path) -> None:
        super().__init__(0, f"{path.name} is no plain file")
        self.strerror = f"{path.name} is no plain file"


def create(path: Path, mode: int = 0o644) -> int:
    """Create ``path`` and return a descriptor for writing. Raises OSError; FileExistsError if the name is taken."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)


def open_to_append(path: Path) -> int:
    """Open an existing plain file for appending. Raises OSError; NotPlain for a link, a pipe or a directory."""
    return _opened(path, os.O_WRONLY | os.O_APPEND)


def open_to_read(path: Path) -> int:
    """Open an existing plain file for reading. Raises OSError; NotPlain for a link, a pipe or a directory."""
    return _opened(path, os.O_RDONLY)


def read(path: Path, most_bytes: int = -1) -> bytes:
    """Return the first ``most_bytes`` of a plain file; -1: all of it. Raises OSError."""
    with open(open_to_read(path), "rb") as file:
        return file.read(most_bytes)


def _opened(path: Path, flags: int) -> int:
    try:
        fd = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError:
        if os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
            raise NotPlain(path) from None
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise NotPlain(path)
    return fd
