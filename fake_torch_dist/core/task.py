"""``Task``: a collective that has begun, as a coroutine and its state."""

from __future__ import annotations

import time
from _thread import RLock  # ``threading`` would add work to every fork
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol


class Wait(Protocol):
    """An event that a task awaits. The runner asks for it; ``transports.waits`` defines the kinds."""

    def missing(self) -> list[int]:
        """Global ranks whose action completes this wait."""


class Callbacks:
    """Functions to call when a task is done. While one thread calls them, others that call them wait."""

    __slots__ = ("_calls", "_lock")

    def __init__(self) -> None:
        self._calls: list[Callable[[], None]] = []
        self._lock = RLock()

    def append(self, call: Callable[[], None]) -> None:
        """Add a function."""
        self._calls.append(call)

    def call(self) -> None:
        """Call all functions, in the order in which they were added."""
        with self._lock:
            for call in self._calls:
                call()


class Task:
    """A collective that is under way or done. ``group`` is None for a task that barriers do not wait for."""

    __slots__ = (
        "_coroutine", "callbacks", "deadline", "done", "error", "group", "members", "moves", "result", "timeout_s",
        "waiting",
    )  # fmt: skip

    def __init__(
        self, coroutine: Coroutine[Any, Any, Any], members: Sequence[int], timeout_s: float, group: int | None = None
    ) -> None:
        self._coroutine = coroutine
        self.group = group
        self.members = members
        self.timeout_s = timeout_s
        self.deadline = time.monotonic() + timeout_s
        self.waiting: Any = None
        """The ``Wait`` that the coroutine awaits; None before the first step and when the task is done."""
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = False
        self.moves = False
        """True if the task goes on while no thread waits for it."""
        self.callbacks: Callbacks | None = None

    @classmethod
    def ended(cls, result: Any) -> Task:
        """A task that is done with a result, without the attributes that only a task under way needs."""
        task = cls.__new__(cls)
        task.result, task.error, task.done = result, None, True
        return task

    def step(self, payloads: list[Any] | None, error: BaseException | None = None) -> None:
        """Run the coroutine until it waits again or ends."""
        try:
            self.waiting = self._coroutine.throw(error) if error else self._coroutine.send(payloads)
        except StopIteration as stop:
            self.result, self.done, self.waiting = stop.value, True, None
        except BaseException as failure:
            self.error, self.done, self.waiting = failure, True, None
            if not isinstance(failure, Exception):
                raise

    def fail(self, error: BaseException) -> None:
        """End the task with ``error``."""
        self._coroutine.close()
        self.error, self.done, self.waiting = error, True, None


class Receipt(Task):
    """A task that waits for one message and has no coroutine; the message is its result."""

    __slots__ = ()

    def __init__(self, message: Any, members: Sequence[int], timeout_s: float) -> None:
        """``message`` is the ``Wait`` for it."""
        self.group = None
        self.members = members
        self.timeout_s = timeout_s
        self.deadline = time.monotonic() + timeout_s
        self.waiting = message
        self.result = self.error = self.callbacks = None
        self.done = self.moves = False

    def step(self, payloads: list[Any] | None, error: BaseException | None = None) -> None:
        """End with the message, or with ``error``."""
        if payloads is not None:
            (self.result,) = payloads
        self.error, self.done, self.waiting = error, True, None

    def fail(self, error: BaseException) -> None:
        """End with ``error``."""
        self.step(None, error)
