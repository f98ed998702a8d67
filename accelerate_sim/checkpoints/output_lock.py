"""The lock on an output directory: one process owns it until that process ends.

It is the kernel's flock(2) on the directory itself, so it ends with the process in any case, and leaves no file behind.
It keeps out processes of the same host. A child process does not inherit it: the descriptor is closed by fork and exec.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

OWNER_WAIT_S = 1.0
"""Real seconds to wait for the owner, which may be about to end."""
LAUNCHED_OWNER_WAIT_S = 5.0
"""Real seconds to wait under a launcher: ranks of a killed launcher still save a checkpoint before they end."""
KILLED_OWNER_WAIT_S = 20.0
"""Real seconds to wait for an owner that has been killed, and still waits for a disk or frees its memory."""
PAUSE_S = 0.02

_UNKNOWN = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)
"""Errors of file systems without such locks; there every process may write."""

_held: dict[tuple[int, int], int] = {}
"""Descriptors of the directories that this process owns, by device and inode."""


class Owned(Exception):
    """Raised when another process owns the directory. ``owner`` is its pid; None if the system does not report it."""

    def __init__(self, owner: int | None) -> None:
        self.owner = owner
        super().__init__(f"is being written by {f'process {owner}' if owner else 'another process'}")


def own(directory: Path, wait_s: float) -> None:
    """Own a directory until this process ends. Raises Owned, OSError."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    status = os.fstat(fd)
    identity = status.st_dev, status.st_ino
    if identity in _held:
        os.close(fd)
        return
    try:
        _lock(fd, status.st_ino, wait_s)
    except BaseException:
        os.close(fd)
        raise
    _held[identity] = fd


def _lock(fd: int, inode: int, wait_s: float) -> None:
    import fcntl  # not available on every platform

    begin_s = time.monotonic()
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            owner, waited_s = _owner(inode), time.monotonic() - begin_s
        except OSError as error:
            if error.errno in _UNKNOWN:
                return
            raise
        if waited_s >= (KILLED_OWNER_WAIT_S if owner and _was_killed(owner) else wait_s):
            raise Owned(owner)
        time.sleep(PAUSE_S)


def _owner(inode: int) -> int | None:
    """The pid of the process that has locked the file with this inode (proc_locks(5))."""
    with suppress(OSError, ValueError, IndexError), open("/proc/locks", encoding="ascii") as locks:
        for line in locks:
            fields = line.split()
            if fields[1] == "FLOCK" and int(fields[5].rpartition(":")[2]) == inode:
                return int(fields[4])
    return None


def _was_killed(pid: int) -> bool:
    """True if a process is a zombie, or if SIGKILL is pending for it (proc_pid_status(5))."""
    with suppress(OSError, ValueError), open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as status:
        fields = dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)
        killed = 1 << (signal.SIGKILL - 1)
        pending = int(fields.get("SigPnd", "0"), 16) | int(fields.get("ShdPnd", "0"), 16)
        return fields.get("State", "?")[0] in "ZX" or bool(pending & killed)
    return True  # there is no such process any more


def _forget_in_child() -> None:
    while _held:
        with suppress(OSError):
            os.close(_held.popitem()[1])


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
