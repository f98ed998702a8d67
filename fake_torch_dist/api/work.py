"""``Work`` and ``Future``: handles to a collective that may still be under way.

In the virtual world a collective is done when the call returns, which torch permits and code that waits cannot tell.
What they do not do: streams (``block_current_stream``), boxing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NoReturn

from fake_torch_dist import errors
from fake_torch_dist.api.group_arguments import as_duration
from fake_torch_dist.torch_names import no_such_attribute

if TYPE_CHECKING:
    from fake_torch_dist.transports.engine import Engine
    from fake_torch_dist.transports.tasks import Task

_NO_LIMIT: Final = timedelta(0)
_UNSET: Final = object()
"""The value of a future that has none."""


class Future:
    """A value that may not be there yet, as ``torch.futures.Future``: of a collective, of a callback, or of the user's.

    Callbacks run in the thread that finds the value, at once if it is there.
    """

    __slots__ = ("_callbacks", "_error", "_source", "_value")

    def __init__(self, value: Any = _UNSET, source: Work | Future | None = None) -> None:
        """With a ``source`` the value is there when that is done; without both, after ``set_result``."""
        self._value = value
        self._source = source
        self._error: BaseException | None = None
        self._callbacks: list[Callable[[], None]] = []

    def done(self) -> bool:
        """Whether the value, or an error, is there."""
        source = self._source
        if source is None:
            return self._value is not _UNSET or self._error is not None
        return source.is_completed() if isinstance(source, Work) else source.done()

    def wait(self) -> Any:
        """Wait for the value and return it; raises what went wrong. RuntimeError if nobody here could ever set it."""
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
            except errors.DistError as failure:  # what went wrong in the collective, and was raised by its value
                following._error = failure
            except Exception as failure:
                following._error = RuntimeError(_callback_text(failure))
                following._error.__cause__ = failure
            following._source = None
            following._done()

        self._when_done(call)
        return following

    def add_done_callback(self, callback: Callable[[Future], Any]) -> None:
        """Call ``callback`` with this future once it is done. What it raises is printed, as torch logs it."""
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
        self._done()

    def set_exception(self, result: Exception) -> None:
        """Make ``wait`` of a future of the user's raise ``result``. Errors as ``set_result``; AssertionError."""
        if not isinstance(result, Exception):
            raise AssertionError(f"{result} is of type {type(result)}, not an Exception.")  # torch's words
        self._check_unset()
        self._error = result
        self._done()

    def _check_unset(self) -> None:
        if self._source is not None or self.done():
            raise RuntimeError(errors.FUTURE_SET_TWICE)

    def _when_done(self, call: Callable[[], None]) -> None:
        if self.done():
            call()
        else:
            self._callbacks.append(call)

    def _done(self) -> None:
        """Tell those who wait for this one. A Work calls it when it is done."""
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()


def _check_callback(callback: object) -> None:
    if not callable(callback):
        raise TypeError(f"a callback of a Future is called with it; {callback!r} cannot be called")


def _callback_text(failure: Exception) -> str:
    return errors.CALLBACK_FAILED.format(kind=type(failure).__name__, failure=failure)


class Work:
    """A collective that is under way, or done. ``result`` lists the tensors it writes."""

    __slots__ = ("_engine", "_task", "_tensors")

    def __init__(self, tensors: list[Any], task: Task | None = None, engine: Engine | None = None) -> None:
        """Without a ``task`` it is done."""
        self._tensors = tensors
        self._task = task
        self._engine = engine

    def wait(self, timeout: timedelta | float = _NO_LIMIT) -> bool:
        """Wait until it is done and return True, every time; raises what went wrong. A float is seconds.

        RuntimeError when ``timeout`` (0: none of its own) is over before; the collective itself goes on until the
        group's timeout.
        """
        if self._task is None:
            return True
        assert self._engine is not None
        limit = as_duration(timeout)
        if not self._engine.wait(self._task, limit.total_seconds() or None):
            raise RuntimeError(errors.WAIT_TIMED_OUT)
        if self._task.error:
            raise self._task.error
        return True

    def synchronize(self) -> None:
        """As ``wait``."""
        self.wait()

    def is_completed(self) -> bool:
        """Whether it is done, well or not; takes what has arrived, without waiting."""
        if self._task is None or self._task.done:
            return True
        assert self._engine is not None
        self._engine.look()
        return self._task.done

    def is_success(self) -> bool:
        """Whether it is done and nothing went wrong."""
        return self.is_completed() and self.exception() is None

    def exception(self) -> BaseException | None:
        """What went wrong, if anything has."""
        return None if self._task is None else self._task.error

    def result(self) -> list[Any]:
        """The tensors that the collective writes, as the caller gave them."""
        return self._tensors

    def source_rank(self) -> int:
        """Global rank of whom a finished receive received from; RuntimeError for other works."""
        if self._task is None or not isinstance(self._task.result, int):
            raise RuntimeError(errors.NO_SOURCE_RANK)
        return self._task.result

    _source_rank = source_rank

    def __getattr__(self, name: str) -> NoReturn:
        raise no_such_attribute("Work", name)

    def get_future(self) -> Future:
        """A future whose value is ``result()``."""
        if self._task is None or self._task.done:
            return Future(self._tensors, None if self.exception() is None else self)
        assert self._engine is not None
        future = Future(self._tensors, self)
        self._engine.when_done(self._task, future._done)
        return future
