"""``Future``: a value that may not be there yet, and the callbacks that wait for it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final, Protocol

from fake_torch_dist import errors

_UNSET: Final = object()
"""The value of a future that has none."""


class PendingWork(Protocol):
    """A collective that a future waits for. ``Work`` is one."""

    def is_completed(self) -> bool:
        """True if it is done."""

    def wait(self) -> object:
        """Wait until it is done; raises its error."""


class Future:
    """A value that may not be there yet, as torch's class of this name: of a collective, of a callback, or of the
    user's.

    Callbacks run in the thread that finds the value, at once if it is there.
    """

    __slots__ = ("_callbacks", "_error", "_source", "_value")

    def __init__(self, value: Any = _UNSET, source: PendingWork | Future | None = None) -> None:
        """With a ``source`` the value is there when that is done; without both, after ``set_result``."""
        self._value = value
        self._source = source
        self._error: BaseException | None = None
        self._callbacks: list[Callable[[], None]] = []

    def done(self) -> bool:
        """True if the value, or an error, is there."""
        source = self._source
        if source is None:
            return self._value is not _UNSET or self._error is not None
        return source.done() if isinstance(source, Future) else source.is_completed()

    def wait(self) -> Any:
        """Wait for the value and return it; raises the error. RuntimeError if nothing here could ever set it."""
        if self._source is not None:
            self._source.wait()
        if self._error is not None:
            raise self._error
        if self._value is _UNSET:
            raise RuntimeError(errors.FUTURE_NOT_DONE)
        return self._value

    def value(self) -> Any:
        """The list of tensors that the collective wrote; RuntimeError before it is done."""
        if not self.done():
            raise RuntimeError(errors.FUTURE_NOT_DONE)
        return self.wait()

    def then(self, callback: Callable[[Future], Any]) -> Future:
        """Call ``callback`` with this future once it is done; its result is the value of the future returned.

        RuntimeError from that one's ``wait``, with torch's text, if ``callback`` raises.
        """
        _check_callback(callback)
        following = Future(source=self)

        def call() -> None:
            try:
                following._value = callback(self)
            except errors.DistError as failure:  # of the collective, raised by its value
                following._error = failure
            except Exception as failure:
                following._error = RuntimeError(_callback_text(failure))
                following._error.__cause__ = failure
            following._source = None
            following.call_back()

        self._when_done(call)
        return following

    def add_done_callback(self, callback: Callable[[Future], Any]) -> None:
        """Call ``callback`` with this future once it is done. An exception of it is printed, as torch logs it."""
        _check_callback(callback)

        def call() -> None:
            try:
                callback(self)
            except Exception as failure:
                print(_callback_text(failure), file=sys.stderr)

        self._when_done(call)

    def set_result(self, result: Any) -> None:
        """Give a future of the user's its value. RuntimeError, torch's, if it has one or waits for a collective."""
        self._check_unset()
        self._value = result
        self.call_back()

    def set_exception(self, result: Exception) -> None:
        """Make ``wait`` of a future of the user's raise ``result``. Errors as ``set_result``; AssertionError."""
        if not isinstance(result, Exception):
            raise AssertionError(f"{result} is of type {type(result)}, not an Exception.")  # torch's words
        self._check_unset()
        self._error = result
        self.call_back()

    def _check_unset(self) -> None:
        if self._source is not None or self.done():
            raise RuntimeError(errors.FUTURE_SET_TWICE)

    def _when_done(self, call: Callable[[], None]) -> None:
        if self.done():
            call()
        else:
            self._callbacks.append(call)

    def call_back(self) -> None:
        """Call the callbacks. A ``Work`` calls this when it is done."""
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()


def _check_callback(callback: object) -> None:
    if not callable(callback):
        raise TypeError(f"a callback of a Future is called with it; {callback!r} cannot be called")


def _callback_text(failure: Exception) -> str:
    return errors.CALLBACK_FAILED.format(kind=type(failure).__name__, failure=failure)
