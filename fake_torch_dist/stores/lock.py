"""A mutex on SimpleQueue: importing ``threading`` would add work to every fork."""

from __future__ import annotations

from _queue import Empty, SimpleQueue  # ``queue`` imports ``threading``


class Mutex:
    """A lock for the threads of a store's user, as a context manager."""

    __slots__ = ("_token",)

    def __init__(self) -> None:
        self._token: SimpleQueue[None] = SimpleQueue()
        self._token.put(None)

    def take_if_free(self) -> bool:
        """True if nobody held it, and this caller, who calls ``__exit__``, holds it now."""
        try:
            self._token.get_nowait()
        except Empty:
            return False
        return True

    def __enter__(self) -> None:
        self._token.get()

    def __exit__(self, *_: object) -> None:
        self._token.put(None)
