"""A mutex that raises an error, instead of deadlocking, in a signal handler that has interrupted its holder."""

from __future__ import annotations

from _thread import RLock  # ``threading`` would add work to every fork
from collections.abc import Callable

from fake_torch_dist import errors


def ownership(lock: RLock) -> Callable[[], bool]:
    """The function that says whether the calling thread holds ``lock``, as ``threading.Condition`` asks it."""
    is_owned: Callable[[], bool] = lock._is_owned  # type: ignore[attr-defined]  # absent in the stubs
    return is_owned


class Mutex:
    """A lock for the threads of a store's user, as a context manager."""

    __slots__ = ("_lock", "is_mine")

    def __init__(self) -> None:
        self._lock = RLock()
        self.is_mine = ownership(self._lock)
        """``is_mine()``: True if this thread holds it, as a signal handler finds it that has interrupted the holder."""

    def take_if_free(self) -> bool:
        """True if nobody held it, and this caller, who calls ``__exit__``, holds it now."""
        return not self.is_mine() and self._lock.acquire(False)

    def __enter__(self) -> None:
        """RuntimeError if this thread holds it, which cannot go on before this call has returned."""
        if self.is_mine():
            raise RuntimeError(errors.CALLED_INSIDE)
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
