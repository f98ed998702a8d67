"""Parents and children on Linux: learn of the parent's end, adopt orphans, be called something.

Elsewhere these do nothing, and what is left behind when a launcher is killed has to be found by hand.
"""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from typing import Final

# linux/prctl.h, linux/sched.h
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NAME: Final = 15
_PR_SET_CHILD_SUBREAPER: Final = 36
_CLONE_NEWUTS: Final = 0x04000000

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def on_end_of(parent: int, number: int) -> None:
    """From now on this process gets signal ``number`` when its parent, whose pid was ``parent``, ends, however."""
    if _libc is None:
        return
    _libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:  # it had ended before
        os.kill(os.getpid(), number)


def adopt_orphans() -> bool:
    """Whether processes below this one whose parents end become its children from now on."""
    return _libc is not None and _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


def children() -> list[int]:
    """Pids of this process's children, the adopted ones and zombies included."""
    own = os.getpid()
    with suppress(OSError), open(f"/proc/self/task/{own}/children") as pids:
        return [int(pid) for pid in pids.read().split()]
    with suppress(OSError):  # a kernel without that file
        return [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and _parent_of(entry) == own]
    return []


def _parent_of(pid: str) -> int:
    with suppress(OSError), open(f"/proc/{pid}/stat", "rb") as stat:
        return int(stat.read().rpartition(b")")[2].split()[1])
    return 0


def be_called(name: str) -> None:
    """In ``ps`` and ``top``; the kernel keeps 15 characters."""
    if _libc is not None:
        _libc.prctl(_PR_SET_NAME, os.fsencode(name), 0, 0, 0)


def be_host(name: str) -> bool:
    """Give this process, and those it forks, a host name of their own. False where that takes rights that it lacks."""
    if _libc is None or _libc.unshare(_CLONE_NEWUTS) != 0:
        return False
    encoded = name.encode()
    return bool(_libc.sethostname(encoded, len(encoded)) == 0)
