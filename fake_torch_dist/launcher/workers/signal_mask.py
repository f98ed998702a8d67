"""Signals that are blocked in an agent: whoever signals every process of a job means the launcher and the ranks.

Slurm, systemd and ``pkill -f`` send a signal to all processes of a job at once. An agent that ended by it would take
its ranks with it before they could save. The mask is inherited by a fork, so a rank unblocks before it runs anything.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable
from typing import Final

ALWAYS: Final = frozenset({
    signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2,
})  # fmt: skip
"""Sent to whole jobs by schedulers, service managers and terminals."""
_NEEDED: Final = frozenset({signal.SIGCHLD, signal.SIGCONT})
"""An agent learns by these that a rank or its launcher has ended."""

_blocked_before: set[signal.Signals | int] | None = None


def block(handled: Iterable[signal.Signals]) -> None:
    """Block ``ALWAYS`` and ``handled`` in this process and in those that it forks, until ``as_before``."""
    global _blocked_before
    _blocked_before = signal.pthread_sigmask(signal.SIG_BLOCK, (ALWAYS | set(handled)) - _NEEDED)


def as_before() -> None:
    """Restore the mask that was there before ``block``. What has been sent to this process meanwhile arrives now."""
    if _blocked_before is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, _blocked_before)
