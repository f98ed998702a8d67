"""Processes of other ranks on this host: identify the other end of a socket, and notice an end without a connection.

The end of a process is seen through its pidfd, which an epoll watches beside the sockets.
"""

from __future__ import annotations

import os
import select
import socket

from fake_torch_dist.stores.connected_user import foreign, unix_credentials


def is_process(connection: socket.socket, pid: int) -> bool:
    """True if the other end of a Unix socket that this process connected is process ``pid`` of this user."""
    return unix_credentials(connection)[0] == pid and not foreign(connection)


class WatchedProcesses:
    """Ranks whose processes are watched: ``poll`` reports the descriptor of one that has ended as readable."""

    def __init__(self, poll: select.epoll) -> None:
        self._poll = poll
        self._ranks: dict[int, int] = {}
        """By descriptor."""
        self._descriptors: dict[int, int] = {}
        """By rank."""

    def __contains__(self, rank: int) -> bool:
        return rank in self._descriptors

    def rank_of(self, descriptor: int) -> int | None:
        """The rank whose process a descriptor watches, or None."""
        return self._ranks.get(descriptor)

    def watch(self, rank: int, pid: int) -> None:
        """Watch process ``pid`` of ``rank``. ProcessLookupError if it has ended.

        On an old kernel, or without a free descriptor, it is not watched; then only a closed connection reports its
        end.
        """
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            raise
        except OSError:
            return
        self._ranks[descriptor], self._descriptors[rank] = rank, descriptor
        self._poll.register(descriptor, select.EPOLLIN)

    def unwatch(self, rank: int) -> None:
        """Stop watching ``rank``, if it is watched."""
        descriptor = self._descriptors.pop(rank, None)
        if descriptor is not None:
            del self._ranks[descriptor]
            self._poll.unregister(descriptor)
            os.close(descriptor)

    def close(self) -> None:
        """Close the descriptors only: a forked child shares the kernel's list of watched descriptors with its
        parent."""
        for descriptor in self._ranks:
            os.close(descriptor)
