"""Processes of the job that ended ranks have left to their agent, and the signals that end them."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from contextlib import suppress

from fake_torch_dist.launcher.workers import linux_processes
from fake_torch_dist.launcher.workers.job_processes import JobProcesses


class Leftovers:
    """Finds and signals the leftovers of one attempt; a process or group is signalled once."""

    def __init__(self, job_processes: JobProcesses) -> None:
        self._job_processes = job_processes
        self._signalled: set[int] = set()

    def forget(self) -> None:
        """Begin a new attempt."""
        self._signalled = set()

    def find(self, alive: Collection[int]) -> list[int]:
        """Return pids, without those of the ranks that are ``alive``.

        Where the system lists no children, the ranks' process groups are returned, as negative numbers.
        """
        if _is_childless():
            return []
        children = linux_processes.children()
        if children is None:
            return [group for group in self._job_processes.groups if -group not in alive]
        return [pid for pid in children if pid not in alive and pid in self._job_processes]

    def signal(self, pids: Sequence[int], number: int, signalled_groups: Collection[int]) -> bool:
        """Send signal ``number`` once to each. Returns whether there were any that had not got one.

        Members of ``signalled_groups`` count as signalled: they got the signal with their rank.
        """
        new = [pid for pid in pids if pid not in self._signalled]
        for pid in new:
            if _group_of(pid) not in signalled_groups:
                with suppress(OSError):
                    os.kill(pid, number)
        self._signalled.update(new)
        return bool(new)


def _group_of(pid: int) -> int:
    """Return the process group of a pid, or the group that a negative number stands for; 0 if it is gone."""
    if pid < 0:
        return -pid
    with suppress(OSError):
        return os.getpgid(pid)
    return 0


def _is_childless() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True
    return False
