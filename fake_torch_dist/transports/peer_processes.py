"""Processes of other ranks on this host: who is at the other end of a socket, and seeing one end without a connection.

The end of a process is seen through its pidfd, which an epoll watches beside the sockets.
"""

from __future__ import annotations

import os
import select
import socket

from fake_torch_dist.stores.connected_user import foreign, unix_credentials


def is_process(connection: socket.socket, pid: int) -> bool:
    """Whether the other end of a Unix socket that we connected is this process of our user."""
    return unix_credentials(connection)[0] == pid and not foreign(connection)


class WatchedProcesses:
    """Ranks whose processes are watched. ``poll`` says it when the descriptor of one that has ended is readable."""

    def __init__(self, poll: select.epoll) -> None:
        self._poll = poll
        self._ranks: dict[int, int] = {}
        """By descriptor."""
        self._descriptors: dict[int, int] = {}
        """By rank."""

    def __contains__(self, rank: int) -> bool:
        return rank in self._descriptors

    def rank_of(self, descriptor: int) -> int | None:
        """Whose process a descriptor watches; None if it is none of these."""
        return self._ranks.get(descriptor)

    def watch(self, rank: int, pid: int) -> None:
        """ProcessLookupError if it has ended. Not watched on an old kernel, or without a descriptor that is free: a
        closed connection will tell.
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
        """Whether it was watched or not."""
        descriptor = self._descriptors.pop(rank, None)
        if descriptor is not None:
            del self._ranks[descriptor]
            self._poll.unregister(descriptor)
            os.close(descriptor)

    def close(self) -> None:
        """Only the descriptors: in a forked child the kernel's list of what to watch is the parent's, too."""
        for descriptor in self._ranks:
            os.close(descriptor)
