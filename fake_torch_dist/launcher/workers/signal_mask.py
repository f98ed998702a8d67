"""Blocks signals in an agent that are meant for the launcher and the ranks.

Slurm, systemd and a pattern kill send a signal to all processes of a job at once. An agent that ended by it would end
its ranks before they could save. A fork inherits the mask, so a rank restores it before it runs anything.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable
from typing import Final

ALWAYS: Final = frozenset({
    signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2,
})  # fmt: skip
"""Signals that schedulers, service managers and terminals send to whole jobs."""
_NEEDED: Final = frozenset({signal.SIGCHLD, signal.SIGCONT})
"""Signals by which an agent learns that a rank or its launcher has ended."""

_blocked_before: set[signal.Signals | int] | None = None


def block(handled: Iterable[signal.Signals]) -> None:
    """Block ``ALWAYS`` and ``handled`` in this process and in those that it forks, until ``restore``."""
    global _blocked_before
    _blocked_before = signal.pthread_sigmask(signal.SIG_BLOCK, (ALWAYS | set(handled)) - _NEEDED)


def restore() -> None:
    """Restore the mask that was there before ``block``. Signals that were sent meanwhile arrive now."""
    if _blocked_before is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, _blocked_before)
