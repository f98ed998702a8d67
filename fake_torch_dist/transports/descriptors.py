"""``Descriptors``: what a process polls for its peers, which are listeners, connections and a waker, in one epoll.

A thread that waits by the program's own wait (``program_wait``) polls after it.
"""

from __future__ import annotations

import os
import resource
import select
import socket
from typing import Final

from fake_torch_dist.transports import program_wait
from fake_torch_dist.transports.wire import PeerConnection

_PER_RANK: Final = 2
"""Descriptors that a rank can need: both ranks may have connected, or one connects while a pidfd is watched."""
_OTHERS: Final = 128
"""Descriptors for everything else that a process has open."""


class Descriptors:
    """The epoll object of one process and its sockets; ``WatchedProcesses`` registers the processes."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self.connections: dict[int, PeerConnection] = {}
        """All of them, by descriptor."""
        self.listeners: dict[int, socket.socket] = {}
        self.waker = -1
        """An eventfd that ends a ``poll``; made when it is first needed."""

    def keep_listener(self, listener: socket.socket) -> None:
        """Report connections to a socket that listens."""
        listener.setblocking(False)
        self.listeners[listener.fileno()] = listener
        self.epoll.register(listener, select.EPOLLIN)

    def keep(self, connection: PeerConnection) -> None:
        """Report what arrives on a connection."""
        connection.socket.setblocking(False)
        self.connections[connection.socket.fileno()] = connection
        self.epoll.register(connection.socket, select.EPOLLIN)

    def report_space(self, connection: PeerConnection, wanted: bool) -> None:
        """Report, or report no longer, that a connection can take more bytes."""
        self.epoll.modify(connection.socket, select.EPOLLIN | (select.EPOLLOUT if wanted else 0))

    def drop(self, connection: PeerConnection) -> None:
        """Close a connection."""
        self.epoll.unregister(connection.socket)
        del self.connections[connection.socket.fileno()]
        connection.socket.close()

    def poll(self, timeout_s: float) -> list[tuple[int, int]]:
        """Wait at most ``timeout_s`` for events."""
        if program_wait.current is not None and timeout_s > 0.0:
            timeout_s = 0.0 if program_wait.wait_for(self.epoll.fileno(), timeout_s) else timeout_s
        return self.epoll.poll(timeout_s)

    def wake(self) -> None:
        """Let a ``poll`` of another thread, or of a frame that a signal handler has interrupted, return at once."""
        if self.waker < 0:
            self.waker = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self.epoll.register(self.waker, select.EPOLLIN)
        os.eventfd_write(self.waker, 1)

    def close(self) -> None:
        """Close everything. A forked child may do nothing else: it shares the epoll's list with its parent."""
        for each in [*self.listeners.values(), *(held.socket for held in self.connections.values())]:
            each.close()
        if self.waker >= 0:
            os.close(self.waker)
            self.waker = -1
        self.epoll.close()


def allow_descriptors(ranks: int) -> None:
    """Raise this process's soft limit of descriptors to what so many ranks need, or as far as it may."""
    count = _PER_RANK * ranks + _OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        most = count if hard == resource.RLIM_INFINITY else min(count, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
