"""Collectives under way: coroutines that await messages, and what they wait for. ``engine`` lets them go on."""

from __future__ import annotations

import time
from _thread import RLock
from collections.abc import Callable, Coroutine, Generator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from fake_torch_dist.transports.engine import Engine

ANY_SOURCE: Final = -1
COLLECTIVE: Final = 0
POINT_TO_POINT: Final = 1
OVERDUE: Final = 2
"""Channels: the numbers of collectives and the tags of point to point don't mix; what is overdue goes on a third."""


class Address(NamedTuple):
    """Where a message belongs: who sent it, for which group, and the number of the exchange, or the tag."""

    source: int
    group: int
    channel: int
    number: int


class Messages:
    """Awaits one message from each address; gives the payloads in that order, each with its source if that was open."""

    __slots__ = ("addresses", "found")

    def __init__(self, addresses: Sequence[Address]) -> None:
        self.addresses = addresses
        self.found: dict[int, Any] = {}

    def __await__(self) -> Generator[Messages, list[Any], list[Any]]:
        return (yield self)

    def ready(self, engine: Engine) -> list[Any] | None:
        """Take what has arrived; everything once it is complete, None before."""
        for index, address in enumerate(self.addresses):
            if index not in self.found:
                payload = engine.take(address)
                if payload is not None:
                    self.found[index] = payload
        if len(self.found) < len(self.addresses):
            return None
        return [self.found[index] for index in range(len(self.addresses))]

    def missing(self) -> list[int]:
        """Ranks that are waited for."""
        return [address.source for index, address in enumerate(self.addresses) if index not in self.found]


class Written:
    """Awaits that the kernel has taken everything on its way to a rank."""

    __slots__ = ("to",)

    def __init__(self, to: int) -> None:
        self.to = to

    def __await__(self) -> Generator[Written, list[Any], None]:
        yield self

    def ready(self, engine: Engine) -> list[Any] | None:
        """Something, though empty, once it is so; None before."""
        return None if engine.peers.unsent_to(self.to) or self.to in engine.peers.gone else []

    def missing(self) -> list[int]:
        """The rank whose process does not take it."""
        return [self.to]


class Finished:
    """Awaits that other tasks are done, well or not."""

    __slots__ = ("tasks",)

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.tasks = tasks

    def __await__(self) -> Generator[Finished, list[Any], None]:
        yield self

    def ready(self, engine: Engine) -> list[Any] | None:
        """An empty list once they are done; None before."""
        return [] if all(task.done for task in self.tasks) else None

    def missing(self) -> list[int]:
        """Ranks that those tasks wait for."""
        waiting = [task.waiting.missing() for task in self.tasks if task.waiting is not None]
        return sorted({rank for ranks in waiting for rank in ranks})


class Callbacks:
    """What to call when a task is done. Nobody goes on while another thread is still calling."""

    __slots__ = ("_calls", "_lock")

    def __init__(self) -> None:
        self._calls: list[Callable[[], None]] = []
        self._lock = RLock()

    def append(self, call: Callable[[], None]) -> None:
        """Add one."""
        self._calls.append(call)

    def call(self) -> None:
        """Call all of them, in the order in which they were added."""
        with self._lock:
            for call in self._calls:
                call()


class Task:
    """A collective under way, or done. ``group`` is None for one that barriers do not wait for."""

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
        self.waiting: Messages | Written | Finished | None = None
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = False
        self.moves = False
        """Whether it goes on while nobody waits for it."""
        self.callbacks: Callbacks | None = None

    def step(self, payloads: list[Any] | None, error: BaseException | None = None) -> None:
        """Let it go on until it waits again or is done."""
        try:
            self.waiting = self._coroutine.throw(error) if error else self._coroutine.send(payloads)
        except StopIteration as stop:
            self.result, self.done, self.waiting = stop.value, True, None
        except BaseException as failure:
            self.error, self.done, self.waiting = failure, True, None
            if not isinstance(failure, Exception):
                raise

    def fail(self, error: BaseException) -> None:
        """End it from outside."""
        self._coroutine.close()
        self.error, self.done, self.waiting = error, True, None


def run_alone(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that never waits: a collective of the virtual world."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise RuntimeError("a collective of the virtual world waited for a message")
