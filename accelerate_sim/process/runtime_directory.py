"""The user's runtime directory, in which running jobs publish themselves. It is in memory on most systems.

Only the user may write or read a job there, so a directory with another owner or mode is refused, not repaired.
"""

import os
import stat
import tempfile
from pathlib import Path

NAME = "fake-torchrun"
CONTROL_PREFIX, CONTROL_SUFFIX = "control-", ".sock"
"""The name of a process's control socket has its process id between these."""


class UnsafeDirectory(Exception):
    """Raised when the runtime directory is open to other users, or cannot be made."""

    def __init__(self, path: Path, reason: str, *, foreign: bool = False) -> None:
        self.path = path
        self.reason = reason
        self.foreign = foreign
        """True if another user owns what is there, so that this user cannot mend it."""
        super().__init__(f"runtime directory {path} {reason}")


def runtime_directory() -> Path:
    """Path of the directory, made or not: below XDG_RUNTIME_DIR, or else in the temporary directory, with the uid."""
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(base) and os.path.isdir(base):
        return Path(base, NAME)
    return Path(tempfile.gettempdir(), f"{NAME}-{os.getuid()}")


def control_socket(directory: Path, pid: int) -> Path:
    """Path of the socket over which the session of a process takes commands."""
    return directory / f"{CONTROL_PREFIX}{pid}{CONTROL_SUFFIX}"


def make_runtime_directory() -> Path:
    """Make the directory if it is not there, and return its path. Raises UnsafeDirectory."""
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
    """Raise UnsafeDirectory unless ``path`` is a real directory that the user owns and nobody else may enter.

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
