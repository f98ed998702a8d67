"""``FarPeers``: the connections with ranks on other hosts, and when such a rank is gone.

Each direction has a TCP connection of its own, so the end of the one that this process made can arrive before the last
messages on the other one. A rank is gone when the connection that it made has ended. If it has made none, it is gone
a moment after the end of ours, in which one that is on its way arrives.

A host that is lost without a word, by power or network, ends its idle connections through keep-alive probes. Bytes that
it does not acknowledge hold the probes back; they are looked for here.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from fake_torch_dist.stores.sockets import LOST_HOST_S
from fake_torch_dist.transports.wire import PeerConnection

LONGEST_POLL_S: Final = 3600.0
"""The longest single poll, as epoll takes at most 2**31 milliseconds; a longer wait polls again."""
LOOK_EVERY_S: Final = 3.0
"""Seconds between two looks at bytes that are not acknowledged."""
ON_ITS_WAY_S: Final = 0.5
"""Time in which a connection that a rank had made before it ended arrives."""
UNAUTHENTICATED_S: Final = 5.0
"""The same while a connection is here whose greeting is not: it may be that rank's."""
_SOON_S: Final = 0.1
_TCP_INFO: Final = struct.Struct("=8B13I")
"""The first fields of Linux's answer to TCP_INFO."""
_UNACKNOWLEDGED, _LAST_ACKNOWLEDGED_MS = 12, 20
"""Their indices: segments sent and not acknowledged, and milliseconds since an acknowledgement came."""


class FarPeers:
    """``in`` is true for a rank to which nothing can be sent, and which may still send."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._connections: dict[int, PeerConnection] = {}
        """By the identity of the object, as its descriptor is closed before it is removed."""
        self._lost_ways: dict[int, float] = {}
        """Time of the end of our connection to a rank, by rank."""
        self._next_look_s = monotonic() + LOOK_EVERY_S
        self.are_there = False
        """True if there is a connection, or a rank that may still be heard."""
        self.longest_poll_s = LONGEST_POLL_S
        """Seconds after which ``ended`` has to be called again."""

    def __contains__(self, rank: int) -> bool:
        return rank in self._lost_ways

    def add(self, connection: PeerConnection) -> None:
        """Note a TCP connection, whoever made it."""
        self._connections[id(connection)] = connection
        self._note()

    def remove(self, connection: PeerConnection) -> None:
        """Note the end of a connection; one that is not TCP has no effect."""
        self._connections.pop(id(connection), None)
        self._note()

    def lose_way(self, rank: int) -> None:
        """Note that our connection to ``rank`` has ended, or cannot be made."""
        self._lost_ways.setdefault(rank, self._monotonic())
        self._note()

    def forget(self, rank: int) -> None:
        """Note that ``rank`` counts as gone."""
        self._lost_ways.pop(rank, None)
        self._note()

    def _note(self) -> None:
        """Set what each poll asks for, which is more often than it changes."""
        self.are_there = bool(self._connections or self._lost_ways)
        seconds = LOOK_EVERY_S if self._connections else LONGEST_POLL_S
        self.longest_poll_s = _SOON_S if self._lost_ways else seconds

    @property
    def is_losing(self) -> bool:
        """True while a rank may still be heard to which nothing can be sent."""
        return bool(self._lost_ways)

    def ended(self) -> list[int]:
        """The ranks that are gone: nothing can be sent to them and nothing comes, or their host is silent."""
        now_s = self._monotonic()
        found = self._unheard(now_s) if self._lost_ways else []
        if now_s >= self._next_look_s:
            self._next_look_s = now_s + LOOK_EVERY_S
            found += [held.rank for held in self._connections.values() if held.rank >= 0 and is_silent(held.socket)]
        return found

    def _unheard(self, now_s: float) -> list[int]:
        heard = {connection.rank for connection in self._connections.values()}
        patience_s = UNAUTHENTICATED_S if -1 in heard else ON_ITS_WAY_S
        return [
            rank for rank, since_s in self._lost_ways.items() if rank not in heard and now_s >= since_s + patience_s
        ]


def is_silent(connection: socket.socket) -> bool:
    """True if bytes were sent and nothing has been acknowledged for LOST_HOST_S; False where that is not known.

    A host that is there acknowledges whatever its process does, also while that reads nothing.
    """
    with suppress(AttributeError, OSError, struct.error):  # Linux
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
        fields = _TCP_INFO.unpack(info)
        return bool(fields[_UNACKNOWLEDGED]) and fields[_LAST_ACKNOWLEDGED_MS] > 1000 * LOST_HOST_S
    return False
