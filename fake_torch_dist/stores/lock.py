"""Turns: the lock of stores whose users may have threads."""

from __future__ import annotations

from _queue import SimpleQueue  # queue itself imports threading, which then has work to do in every fork


class Mutex:
    """One user at a time: a lock for threads that users may have. ``with turn: ...``"""

    __slots__ = ("_token",)

    def __init__(self) -> None:
        self._token: SimpleQueue[None] = SimpleQueue()
        self._token.put(None)

    def __enter__(self) -> None:
        self._token.get()

    def __exit__(self, *_: object) -> None:
        self._token.put(None)
