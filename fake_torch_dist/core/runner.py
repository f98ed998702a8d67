"""``Runner``: the strategy that runs the collectives of a group; its transport moves their data.

A collective is a coroutine. ``InlineRunner`` runs one to its end at once, where nothing has to be awaited: in the
virtual world and in a dry run. ``transports.engine.Engine`` lets many go on while messages are on their way.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from typing import Any, Final, Protocol

from fake_torch_dist.core.task import Task


class Runner(Protocol):
    """Runs the collectives of all groups of one world.

    ``members`` are the global ranks that take part, ``group`` is the number of the group whose barriers wait for the
    task; None: no barrier does.
    """

    def start(
        self, coroutine: Coroutine[Any, Any, Any], members: Sequence[int], timeout: timedelta, group: int | None = None
    ) -> Task:
        """Begin a collective. Errors that it raises before it awaits anything are raised here."""

    def run(
        self, coroutine: Coroutine[Any, Any, Any], members: Sequence[int], timeout: timedelta, group: int | None = None
    ) -> Any:
        """Run a collective to its end and return its result, or raise its error."""

    def wait(self, task: Task, timeout_s: float | None = None) -> bool:
        """Return True when ``task`` is done, or False after ``timeout_s`` seconds."""

    def look(self) -> None:
        """Handle what has arrived, without waiting."""

    def keep_moving(self, task: Task) -> None:
        """Let ``task`` go on while no thread waits for it."""

    def when_done(self, task: Task, callback: Callable[[], None]) -> None:
        """Call ``callback`` when ``task`` is done, at once if it is."""

    def settle(self) -> None:
        """Wait until the collectives that have begun are done."""

    def flush(self, timeout_s: float) -> None:
        """Wait until the kernel has everything that was sent, at most ``timeout_s`` seconds."""

    def close(self) -> None:
        """End what is under way and close the connections."""

    def close_in_child(self) -> None:
        """In a forked child: close its copies of the connections and end the tasks, which are the parent's."""


_ENDED: Final = Task.ended(None)
"""The task of every collective that ends at once without a result, which is most of them."""


class InlineRunner:
    """Runs each collective to its end where it begins. None of them may await anything."""

    __slots__ = ()

    def start(
        self, coroutine: Coroutine[Any, Any, Any], members: Sequence[int], timeout: timedelta, group: int | None = None
    ) -> Task:
        result = self.run(coroutine, members, timeout, group)
        return _ENDED if result is None else Task.ended(result)

    def run(
        self, coroutine: Coroutine[Any, Any, Any], members: Sequence[int], timeout: timedelta, group: int | None = None
    ) -> Any:
        try:
            coroutine.send(None)
        except StopIteration as stop:
            return stop.value
        raise RuntimeError("a collective of the virtual world waited for a message")

    def wait(self, task: Task, timeout_s: float | None = None) -> bool:
        return True

    def look(self) -> None:
        """Nothing can arrive."""

    def keep_moving(self, task: Task) -> None:
        """The task is done."""

    def when_done(self, task: Task, callback: Callable[[], None]) -> None:
        callback()

    def settle(self) -> None:
        """Every task is done."""

    def flush(self, timeout_s: float) -> None:
        """Nothing was sent."""

    def close(self) -> None:
        """There are no connections."""

    def close_in_child(self) -> None:
        """There are no connections."""
