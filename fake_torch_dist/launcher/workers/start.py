"""Starts ranks in batches: their descriptors are opened first, and what they have in common is made once.

A page of memory that is written between two forks is not shared by the ranks before and after. So next to nothing is
done between two forks.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from fake_torch_dist.launcher.protocol.agent_messages import RankTargets, Stream, StreamTarget, TargetKind
from fake_torch_dist.launcher.workers import descriptors
from fake_torch_dist.launcher.workers.start_gate import StartGate
from fake_torch_dist.launcher.workers.worker import Command, start_rank
from fake_torch_dist.terminal.descriptor import set_size

if TYPE_CHECKING:
    from fake_torch_dist.launcher.workers.script import Script

RANKS_AT_ONCE: Final = 16
"""Ranks in a batch. Their pipes are open at the same time, and the descriptors of an agent are limited."""


class Rank:
    """A rank that is about to be forked. ``changes`` are changes of this process's environment."""

    def __init__(self, local_rank: int, targets: RankTargets, changes: Sequence[tuple[str, str | None]]) -> None:
        self.local_rank = local_rank
        self.changes = changes
        self.pid = 0
        """Process id; 0 until the rank is started."""
        self.ours: dict[Stream, int] = {}
        """Reading ends of its pipes and pseudo-terminals, by stream."""
        self._theirs: list[int] = []
        self._streams: dict[Stream, StreamTarget] = {"stdout": targets.stdout, "stderr": targets.stderr}

    @property
    def is_open(self) -> bool:
        """True if all its streams are open, so that it can be started."""
        return len(self._theirs) == len(self._streams)

    def open(self) -> None:
        """Open its streams. Raises OSError, with some of them open."""
        for fd, (stream, target) in enumerate(self._streams.items(), start=1):
            self._theirs.append(self._opened(fd, stream, target))

    def _opened(self, fd: int, stream: Stream, target: StreamTarget) -> int:
        """Return the descriptor that the rank is to have as ``fd``."""
        match target.kind:
            case TargetKind.INHERITED:
                return os.dup(fd)
            case TargetKind.AS_STDOUT:
                return os.dup(self._theirs[0])
            case TargetKind.FILE:
                return os.open(target.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        terminal = _terminal(target) if target.kind is TargetKind.TERMINAL else None
        self.ours[stream], theirs = terminal or os.pipe()
        return theirs

    @property
    def kinds(self) -> tuple[TargetKind, ...]:
        """Kinds of its standard output and error: ranks with equal ones can be prepared together."""
        return tuple(target.kind for target in self._streams.values())

    def take_output(self) -> None:
        """Make its standard output and error this process's own, for the rank to inherit."""
        for fd, theirs in enumerate(self._theirs, start=1):
            os.dup2(theirs, fd)

    def close(self) -> None:
        """Close what was opened, after the launcher and the rank have got it."""
        for fd in (*self._theirs, *self.ours.values()):
            os.close(fd)


def _terminal(target: StreamTarget) -> tuple[int, int] | None:
    """Both ends of a pseudo-terminal that passes output unchanged; None if the system has none left."""
    import termios  # not on every platform

    try:
        ours, theirs = os.openpty()
    except OSError:
        return None
    settings = termios.tcgetattr(theirs)
    settings[1] &= ~termios.OPOST
    termios.tcsetattr(theirs, termios.TCSANOW, settings)
    set_size(theirs, target.columns, target.rows)
    return ours, theirs


def start_ranks(ranks: Sequence[Rank], work: Script | Command, inherited: set[str], gate: StartGate) -> OSError | None:
    """Start ranks in order; they wait at the gate, which this shuts.

    Returns the error of the first that could not be started; those before it have been.
    """
    failure = None
    try:
        gate.shut()
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
                rank.pid = start_rank(work, highest, rank.changes, inherited, gate.reader)
    except OSError as error:
        failure = error
    return failure
