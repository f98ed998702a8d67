"""``Work`` and ``Future``: handles to a collective that may still be under way.

In the virtual world a collective is done when the call returns, which torch permits and code that waits cannot tell.
What they do not do: streams (``block_current_stream``), boxing, ``source_rank`` (of receives only).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any


class Future:
    """The value of a finished collective: what ``Work.get_future`` returns."""

    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        self._value = value

    def done(self) -> bool:
        """True: there is nothing to wait for."""
        return True

    def value(self) -> Any:
        """The list of tensors that the collective wrote."""
        return self._value

    wait = value

    def then(self, callback: Callable[[Future], Any]) -> Future:
        """Call ``callback`` with this future, now; its result is the value of the future returned."""
        return Future(callback(self))


class Work:
    """A collective that is done. ``result`` lists the tensors it wrote."""

    __slots__ = ("_tensors",)

    def __init__(self, tensors: list[Any]) -> None:
        self._tensors = tensors

    def wait(self, timeout: timedelta = timedelta(0)) -> bool:
        """True at once, and again on every later call."""
        return True

    def synchronize(self) -> None:
        """As ``wait``."""

    def is_completed(self) -> bool:
        """True."""
        return True

    def is_success(self) -> bool:
        """True: a collective that fails here raises in the call that started it."""
        return True

    def exception(self) -> BaseException | None:
        """None, for the same reason."""
        return None

    def result(self) -> list[Any]:
        """The tensors that the collective wrote, as the caller gave them."""
        return self._tensors

    def get_future(self) -> Future:
        """A future whose value is ``result()``."""
        return Future(self._tensors)
