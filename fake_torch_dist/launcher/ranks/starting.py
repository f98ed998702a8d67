"""Ranks that start together: all that they need is opened first, and what they have in common is made, once.

A page of memory that is written between two forks is one that no other rank shares with the first of the two; so
between two forks there is next to nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from . import descriptors
from .worker import Command, start_rank

if TYPE_CHECKING:
    from .script import Script

AT_ONCE: Final = 16
"""Ranks whose pipes are open here at the same time: an agent may be allowed no more descriptors than the launcher."""
PIPE: Final = "pipe"
"""A stream that the launcher reads; anything else is a file's name."""
_STREAMS: Final = ("stdout", "stderr")


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
        for stream in _STREAMS:
            if self._streams[stream] == PIPE:
                self.ours[stream], write_end = os.pipe()
                self._theirs.append(write_end)
            else:
                self._theirs.append(os.open(self._streams[stream], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644))

    def take_output(self) -> None:
        """Have its standard output and error in this process, for it to inherit."""
        for fd, theirs in enumerate(self._theirs, start=1):
            os.dup2(theirs, fd)

    def close(self) -> None:
        """What was opened: the launcher and the rank have it now."""
        for fd in (*self._theirs, *self.ours.values()):
            os.close(fd)


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
                if (
                    not isinstance(work, Command) and prepared_for != rank.ours.keys()
                ):  # which are pipes, which are files
                    prepared_for = rank.ours.keys()
                    work.prepare()
                rank.pid = start_rank(work, highest, rank.changes, inherited)
    except OSError as error:
        failure = error
    return failure
