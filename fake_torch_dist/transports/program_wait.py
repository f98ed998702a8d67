"""The program's own wait, which a thread uses in place of a poll while it waits for other ranks.

A program that serves requests by a loop of its own, such as an exporter of metrics, so answers them while a collective
blocks, without a thread.
"""

from __future__ import annotations

import os
from _thread import get_ident
from collections.abc import Callable
from typing import TypeAlias

Wait: TypeAlias = Callable[[int, float], None]
"""Waits until a descriptor can be read, at most so many seconds; it may return earlier."""

current: tuple[int, Wait] | None = None
"""The thread that has set its wait, and the wait."""


def wait_by(wait: Wait | None) -> None:
    """Let the calling thread wait for other ranks by ``wait``; None: by a poll again."""
    global current
    current = (get_ident(), wait) if wait else None


def wait_for(descriptor: int, seconds: float) -> bool:
    """Wait by the program's wait; False, at once, if this thread has none.

    A signal handler that comes meanwhile, and waits for ranks itself, has none.
    """
    global current
    mine = current
    if mine is None or mine[0] != get_ident():
        return False
    current = None
    try:
        mine[1](descriptor, seconds)
    finally:
        current = mine
    return True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: wait_by(None))
