"""Recognises which of the processes that an agent or a launcher has inherited belong to the job.

A process is detached if it is in a session that is neither the launcher's nor a rank's, and holds none of the pipes to
which the ranks write. An example is an upload that ``subprocess`` started in a new session, with its own output. It
outlives the job, as under torchrun. All others end with the job.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress


class JobProcesses:
    """Sessions and pipes of one node's ranks; ``pid in job_processes`` is true if a process belongs to the job."""

    def __init__(self) -> None:
        self._sessions: set[int] = set()
        self._pipes: set[tuple[int, int]] = set()
        """Device and inode, which are the same at both ends."""

    def forget(self) -> None:
        """Forget the ranks of the last attempt."""
        self._sessions.clear()
        self._pipes.clear()

    def add_rank(self, pid: int, pipes: Iterable[int]) -> None:
        """Add the session that a rank leads; ``pipes`` are descriptors of one end of each of its pipes."""
        self._sessions.add(pid)
        self._pipes.update(_identity(os.fstat(pipe)) for pipe in pipes)

    def add_agent(self, pid: int) -> None:
        """Add the session that an agent leads: its ranks are in it until they make their own."""
        self._sessions.add(pid)

    def __or__(self, other: JobProcesses) -> JobProcesses:
        both = JobProcesses()
        both._sessions = self._sessions | other._sessions
        both._pipes = self._pipes | other._pipes
        return both

    @property
    def groups(self) -> list[int]:
        """The ranks' process groups that still have a member, as ``os.kill`` takes them: negative."""
        return [-session for session in self._sessions if session != os.getpid() and _has_members(session)]

    def __contains__(self, pid: int) -> bool:
        """Return False for a detached process. One that cannot be inspected counts as the job's."""
        try:
            if os.getsid(pid) in self._sessions | {os.getsid(0)}:
                return True
            directory = f"/proc/{pid}/fd"
            return any(self._is_pipe(f"{directory}/{name}") for name in os.listdir(directory))
        except OSError:
            return True

    def _is_pipe(self, path: str) -> bool:
        with suppress(OSError):  # closed meanwhile
            return _identity(os.stat(path)) in self._pipes
        return False


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _has_members(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except OSError:
        return False
    return True
