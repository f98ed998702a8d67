"""The events that a collective between processes can await, and the addresses of messages."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from fake_torch_dist.core.task import Task

COLLECTIVE: Final = 0
POINT_TO_POINT: Final = 1
OVERDUE: Final = 2
"""Channels keep apart the numbers of collectives, the tags of point to point, and messages about time-outs."""
_FEW: Final = 16
"""Up to this number, a wait asks for each of its messages."""


class Address(NamedTuple):
    """The key of a message: its sender, its group, its channel, and the number of the exchange or the tag."""

    source: int
    group: int
    channel: int
    number: int


Key: TypeAlias = tuple[int, int, int, int]
"""An ``Address``, or a tuple that is equal to one, which takes less time to make."""


class Mail(Protocol):
    """The messages of a process, as a wait asks for them. ``Mailbox`` holds them."""

    def take(self, address: Key) -> Any:
        """Remove and return the oldest message for an address, or None; for ANY_SOURCE (source, message)."""

    def arrived(self) -> Iterable[Key]:
        """The addresses for which messages are there."""

    def is_written(self, rank: int) -> bool:
        """True if the kernel has everything sent to ``rank``, or if that rank is gone."""


class Messages:
    """Waits for one message from each address; the result is the payloads in that order.

    For ANY_SOURCE an entry is a pair of source and payload.
    """

    __slots__ = ("_pending", "addresses", "found")

    def __init__(self, addresses: Sequence[Address]) -> None:
        self.addresses = addresses
        self.found: dict[int, Any] = {}
        self._pending: dict[Key, int] | None = None
        """Index of each address whose message has not arrived, for a wait of many; made when it is first needed."""

    def __await__(self) -> Generator[Messages, list[Any], list[Any]]:
        return (yield self)

    def ready(self, mail: Mail) -> list[Any] | None:
        """Take the messages that have arrived; return all payloads once they are complete, None before."""
        if len(self.addresses) == 1:
            payload = mail.take(self.addresses[0])
            if payload is None:
                return None
            self.found[0] = payload
            return [payload]
        if len(self.addresses) > _FEW:
            self._take_of_many(mail)
        else:
            for index, address in enumerate(self.addresses):
                if index not in self.found:
                    payload = mail.take(address)
                    if payload is not None:
                        self.found[index] = payload
        if len(self.found) < len(self.addresses):
            return None
        return [self.found[index] for index in range(len(self.addresses))]

    def _take_of_many(self, mail: Mail) -> None:
        """Look at the messages that are there, in place of all that are missing, which a leader of many members would
        do as often as a few of them have come. The addresses of so many differ, as those of a round do."""
        pending = self._pending
        if pending is None:
            pending = self._pending = {address: index for index, address in enumerate(self.addresses)}
        for address in [address for address in mail.arrived() if address in pending]:
            self.found[pending.pop(address)] = mail.take(address)

    def missing(self) -> list[int]:
        """Ranks whose message has not arrived."""
        return [address.source for index, address in enumerate(self.addresses) if index not in self.found]


class Written:
    """Waits until the kernel has taken everything that was sent to a rank."""

    __slots__ = ("to",)

    def __init__(self, to: int) -> None:
        self.to = to

    def __await__(self) -> Generator[Written, list[Any], None]:
        yield self

    def ready(self, mail: Mail) -> list[Any] | None:
        """Return an empty list once everything is written; None before."""
        return [] if mail.is_written(self.to) else None

    def missing(self) -> list[int]:
        """The rank whose process does not read."""
        return [self.to]


class Finished:
    """Waits until other tasks are done, with a result or an error."""

    __slots__ = ("tasks",)

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.tasks = tasks

    def __await__(self) -> Generator[Finished, list[Any], None]:
        yield self

    def ready(self, mail: Mail) -> list[Any] | None:
        """Return an empty list once the tasks are done; None before."""
        return [] if all(task.done for task in self.tasks) else None

    def missing(self) -> list[int]:
        """Ranks that the unfinished tasks wait for."""
        waiting = [task.waiting.missing() for task in self.tasks if task.waiting is not None]
        return sorted({rank for ranks in waiting for rank in ranks})
