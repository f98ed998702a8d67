"""The user's runtime directory: where running jobs say that they are there. In memory on most systems, and private.

Nobody else may put a job there or read one, so a directory that is not the user's own is refused, not repaired.
"""

import os
import stat
import tempfile
from pathlib import Path

NAME = "fake-torchrun"


class UnsafeDirectory(Exception):
    """The runtime directory is not the user's alone, or cannot be had."""

    def __init__(self, path: Path, reason: str, *, foreign: bool = False) -> None:
        self.path = path
        self.reason = reason
        self.foreign = foreign
        """Whether another user has made what is there, so that this one can do nothing about it."""
        super().__init__(f"runtime directory {path} {reason}")


def runtime_directory() -> Path:
    """Where it is, or would be: below XDG_RUNTIME_DIR, or else in the temporary directory, under the user's number."""
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(base) and os.path.isdir(base):
        return Path(base, NAME)
    return Path(tempfile.gettempdir(), f"{NAME}-{os.getuid()}")


def make_runtime_directory() -> Path:
    """The directory, made if need be. Raises UnsafeDirectory."""
    path = runtime_directory()
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise UnsafeDirectory(path, f"can't be made: {error.strerror}") from None
    try:
        check_private(path)
    except FileNotFoundError:
        raise UnsafeDirectory(path, "is removed as soon as it is made", foreign=True) from None
    return path


def check_private(path: Path) -> None:
    """Raise UnsafeDirectory unless this is a real directory of the user's that nobody else may enter.

    FileNotFoundError if there is none.
    """
    status = os.lstat(path)
    if status.st_uid != os.getuid():
        raise UnsafeDirectory(path, f"belongs to user {status.st_uid}", foreign=True)
    if stat.S_ISLNK(status.st_mode):
        raise UnsafeDirectory(path, "is a symbolic link")
    if not stat.S_ISDIR(status.st_mode):
        raise UnsafeDirectory(path, "is not a directory")
    if status.st_mode & 0o077:
        raise UnsafeDirectory(path, f"is open to other users (mode {stat.S_IMODE(status.st_mode):o}, not 700)")
