"""Linux process control: parent-death signal, child subreaper, children and their end, process name.

On other systems these functions do nothing, and processes that a killed launcher leaves behind have to be ended by
hand.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Final

# linux/prctl.h
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NAME: Final = 15
_PR_SET_CHILD_SUBREAPER: Final = 36

_PAUSE_S: Final = 0.002
_KILLED_WITHIN_S: Final = 5.0
"""A process that SIGKILL has not ended within this time is another user's, or waits in the kernel."""

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def set_parent_death_signal(parent: int, number: int) -> None:
    """Let this process get signal ``number`` when its parent, whose pid was ``parent``, ends in any way."""
    if _libc is None:
        return
    _libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:  # the parent ended before the call
        os.kill(os.getpid(), number)


def set_child_subreaper() -> bool:
    """Make this process the parent of descendants whose parents end. Returns False where that is not possible."""
    return _libc is not None and _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


def children() -> list[int] | None:
    """Pids of this process's children, inherited ones and zombies included; None if no /proc lists them."""
    own = os.getpid()
    try:
        if os.readlink("/proc/self") != str(own):
            return None  # a /proc of another PID namespace, where the same numbers are other processes
        with suppress(OSError), open(f"/proc/self/task/{own}/children") as pids:
            return [int(pid) for pid in pids.read().split()]
        # The kernel has no such file.
        return [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and _parent_of(entry) == own]
    except OSError:
        return None


def _parent_of(pid: str) -> int:
    with suppress(OSError), open(f"/proc/{pid}/stat", "rb") as stat:
        return int(stat.read().rpartition(b")")[2].split()[1])
    return 0


def reap_all_but(own: Collection[int]) -> None:
    """Reap the children that have ended and are not ``own``: process 1 of a container inherits all orphans in it."""
    for pid in children() or ():
        if pid not in own:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def kill_all(find: Callable[[], Sequence[int]]) -> None:
    """Kill and reap the processes that ``find`` returns, until it returns none or some cannot be killed.

    A negative number is a process group, as for ``os.kill``.
    """
    end_s = time.monotonic() + _KILLED_WITHIN_S
    while (pids := find()) and time.monotonic() < end_s:
        for pid in pids:
            kill(pid, signal.SIGKILL)
            with suppress(OSError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(_PAUSE_S)


def kill(pid: int, number: int) -> None:
    """Send a signal to a process and to the process group that it leads. A process that is gone is no error."""
    assert abs(pid) > 1, "-1 is every process"
    try:
        os.kill(-abs(pid), number)
    except OSError:  # it leads no group; a rank that has just been forked does not yet
        with suppress(OSError):
            os.kill(pid, number)


def set_process_name(name: str) -> None:
    """Set the name that ``ps`` and ``top`` show for this process; the kernel keeps 15 bytes."""
    if _libc is not None:
        _libc.prctl(_PR_SET_NAME, name.encode(errors="surrogateescape")[:15], 0, 0, 0)
