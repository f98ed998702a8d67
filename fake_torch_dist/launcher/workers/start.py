"""Ranks that start together: all that they need is opened first, and what they have in common is made, once.

A page of memory that is written between two forks is one that no other rank shares with the first of the two; so
between two forks there is next to nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from fake_torch_dist.launcher.workers import descriptors
from fake_torch_dist.launcher.workers.worker import Command, start_rank
from fake_torch_dist.terminal.descriptor import set_size

if TYPE_CHECKING:
    from fake_torch_dist.launcher.workers.script import Script

AT_ONCE: Final = 16
"""Ranks whose pipes are open here at the same time: an agent may be allowed no more descriptors than the launcher."""
PIPE: Final = "pipe"
"""A stream that the launcher reads."""
INHERITED: Final = "inherited"
"""The launcher's own descriptor."""
AS_STDOUT: Final = "as stdout"
"""The pipe or terminal that is standard output, for standard error."""
_TERMINAL: Final = "terminal "
"""A terminal that the launcher reads, with its size. Anything else is a file's name."""
_STREAMS: Final = ("stdout", "stderr")


def terminal_of(columns: int, rows: int) -> str:
    """A terminal of this size as a stream's goal."""
    return f"{_TERMINAL}{columns} {rows}"


class Rank:
    """One that is about to be forked. ``streams``: where each goes; ``changes``: of this process's environment."""

    def __init__(self, local_rank: int, streams: Mapping[str, str], changes: Sequence[tuple[str, str | None]]) -> None:
        self.local_rank = local_rank
        self.changes = changes
        self.pid = 0
        """0 until it is started."""
        self.ours: dict[str, int] = {}
        """The ends of its pipes that are read, by stream."""
        self._theirs: list[int] = []
        self._streams = streams

    @property
    def is_open(self) -> bool:
        """Whether it can be started."""
        return len(self._theirs) == len(_STREAMS)

    def open(self) -> None:
        """Open its streams. OSError, with some of them open."""
        for fd, stream in enumerate(_STREAMS, start=1):
            self._theirs.append(self._opened(fd, stream, self._streams[stream]))

    def _opened(self, fd: int, stream: str, goal: str) -> int:
        """The descriptor that the rank is to have as ``fd``."""
        if goal == INHERITED:
            return os.dup(fd)
        if goal == AS_STDOUT:
            return os.dup(self._theirs[0])
        if goal == PIPE or goal.startswith(_TERMINAL):
            self.ours[stream], theirs = _terminal(goal) or os.pipe()
            return theirs
        return os.open(goal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Alike for ranks whose standard output and error are files, pipes or terminals alike."""
        goals = (self._streams[stream] for stream in _STREAMS)
        return tuple(goal.partition(" ")[0] if _is_no_file(goal) else "file" for goal in goals)

    def take_output(self) -> None:
        """Have its standard output and error in this process, for it to inherit."""
        for fd, theirs in enumerate(self._theirs, start=1):
            os.dup2(theirs, fd)

    def close(self) -> None:
        """What was opened: the launcher and the rank have it now."""
        for fd in (*self._theirs, *self.ours.values()):
            os.close(fd)


def _is_no_file(goal: str) -> bool:
    return goal in (PIPE, INHERITED, AS_STDOUT) or goal.startswith(_TERMINAL)


def _terminal(goal: str) -> tuple[int, int] | None:
    """Both ends of a terminal whose output comes as it was written. None for a pipe, or if there are no terminals."""
    if not goal.startswith(_TERMINAL):
        return None
    import termios  # not on every platform

    columns, rows = map(int, goal.removeprefix(_TERMINAL).split())
    try:
        ours, theirs = os.openpty()
    except OSError:
        return None
    settings = termios.tcgetattr(theirs)
    settings[1] &= ~termios.OPOST
    termios.tcsetattr(theirs, termios.TCSANOW, settings)
    set_size(theirs, columns, rows)
    return ours, theirs


def start_ranks(ranks: Sequence[Rank], work: Script | Command, inherited: set[str]) -> OSError | None:
    """Start them in order. Returns what went wrong with the first that could not be started; those before it are."""
    failure = None
    try:
        for rank in ranks:
            rank.open()
    except OSError as error:
        failure = error
    prepared_for = None
    try:
        with descriptors.own_output():
            highest = descriptors.highest()
            for rank in [rank for rank in ranks if rank.is_open]:
                rank.take_output()
                if not isinstance(work, Command) and prepared_for != rank.kinds:
                    prepared_for = rank.kinds
                    work.prepare()
                rank.pid = start_rank(work, highest, rank.changes, inherited)
    except OSError as error:
        failure = error
    return failure
