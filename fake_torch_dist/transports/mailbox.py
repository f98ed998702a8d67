"""``Mailbox``: the messages that have arrived in a process and that no receive has taken yet."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from fake_torch_dist.core.transport import ANY_SOURCE
from fake_torch_dist.transports.waits import OVERDUE, Key

if TYPE_CHECKING:
    from fake_torch_dist.transports.peers import Peers
    from fake_torch_dist.transports.wire import Payload


class Mailbox:
    """The messages of a process by address, in the order in which each sender sent them. The caller holds the lock."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._mail: defaultdict[Key, deque[Payload]] = defaultdict(deque)

    def sort_in(self, events: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Read the messages of some events of ``peers``; return the (group, number) of exchanges given up by others."""
        overdue = []
        for frame in self._peers.receive(events):
            self._mail[frame[:4]].append(frame[4])
            if frame[2] == OVERDUE:
                overdue.append((frame[1], frame[3]))
        return overdue

    def take(self, address: Key) -> Any:
        """The oldest message for an address, or None; for ANY_SOURCE (source, message) of the first that fits."""
        if address[0] == ANY_SOURCE:
            fitting = (held for held, mail in self._mail.items() if mail and held[1:] == address[1:])
            held = next(fitting, None)
            return None if held is None else (held[0], self.take(held))
        mail = self._mail.get(address)
        if not mail:
            return None
        payload = mail.popleft()
        if not mail:
            del self._mail[address]
        return payload

    def arrived(self) -> Iterable[Key]:
        """The addresses for which messages are there."""
        return self._mail

    def is_written(self, rank: int) -> bool:
        """True if the kernel has everything sent to ``rank``, or if that rank is gone."""
        return not self._peers.unsent_to(rank) or rank in self._peers.gone

    def clear(self) -> None:
        """Forget all messages."""
        self._mail.clear()
