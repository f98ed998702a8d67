"""One owner of an output directory: a lock on the directory itself, held until the process ends.

It is the kernel's flock(2), so it goes with the process however that dies and leaves no file behind. It keeps out
processes of the same host. A child process does not share it: the descriptor is closed when Python forks, and by exec.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

PATIENCE_S = 1.0
"""Real seconds that an owner is waited for: it may be about to end."""
PATIENCE_AFTER_LAUNCHER_S = 5.0
"""The same where a launcher has started this process: ranks of a launcher that was killed are told to end, and save."""
PATIENCE_WITH_DYING_S = 20.0
"""The same for an owner that is certain to end soon: it waits for a disk, or gives its memory back."""
PAUSE_S = 0.02

_UNKNOWN = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)
"""Errors of a file system that has no such locks: there nobody is kept out."""

_held: dict[tuple[int, int], int] = {}
"""Descriptors of the directories that this process owns, by device and inode."""


class Owned(Exception):
    """Another process owns the directory. ``owner`` is its pid, None where the system does not say."""

    def __init__(self, owner: int | None) -> None:
        self.owner = owner
        super().__init__(f"is being written by {f'process {owner}' if owner else 'another process'}")


def own(directory: Path, patience_s: float) -> None:
    """Be the owner of a directory until this process ends. Raises Owned, OSError."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    status = os.fstat(fd)
    identity = status.st_dev, status.st_ino
    if identity in _held:
        os.close(fd)
        return
    try:
        _lock(fd, status.st_ino, patience_s)
    except BaseException:
        os.close(fd)
        raise
    _held[identity] = fd


def _lock(fd: int, inode: int, patience_s: float) -> None:
    import fcntl  # not on every platform

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
        if waited_s >= (PATIENCE_WITH_DYING_S if owner and _is_dying(owner) else patience_s):
            raise Owned(owner)
        time.sleep(PAUSE_S)


def _owner(inode: int) -> int | None:
    """The process that has a lock on the file with this inode (proc_locks(5))."""
    with suppress(OSError, ValueError, IndexError), open("/proc/locks", encoding="ascii") as locks:
        for line in locks:
            fields = line.split()
            if fields[1] == "FLOCK" and int(fields[5].rpartition(":")[2]) == inode:
                return int(fields[4])
    return None


def _is_dying(pid: int) -> bool:
    """Whether a process is a zombie, or has been killed and does not know it yet (proc_pid_status(5))."""
    with suppress(OSError, ValueError), open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as status:
        fields = dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)
        killed = 1 << (signal.SIGKILL - 1)
        pending = int(fields.get("SigPnd", "0"), 16) | int(fields.get("ShdPnd", "0"), 16)
        return fields.get("State", "?")[0] in "ZX" or bool(pending & killed)
    return True  # it has ended by now


def _forget_in_child() -> None:
    while _held:
        with suppress(OSError):
            os.close(_held.popitem()[1])


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
