"""``Peers``: the connections to the other ranks, and the detection of ranks that are gone.

A rank connects to another, which listens (``listening``), when it first sends it a message. On one host the connection
is a Unix socket without a file and carries messages both ways; between hosts it is TCP and carries only the messages of
the rank that connected, as closing one end of it can lose messages on their way to the other. On this host, the
listener is verified to be the process that the contact names. A rank closes its connections when it ends or leaves the
world, so a closed connection means that it is gone; between hosts that is the connection which that rank made, after
whose end nothing of it is on its way (``far_peers``). The end of a process of this host that is waited for, but not
connected, is noticed through its pidfd.

What this module does not do: other systems than Linux (epoll, pidfd, sockets without a file).
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

import numpy as np

from fake_torch_dist.transports.ways import Ways
from fake_torch_dist.transports.wire import READ_BYTES, Frame, PeerConnection

_SPACE: Final = select.EPOLLOUT


class Peers(Ways):
    """This process's connections. ``contacts`` of all ranks are given before the first message."""

    def __init__(self, rank: int) -> None:
        super().__init__(rank)
        self._connections, self._listeners = self._descriptors.connections, self._descriptors.listeners
        self.wake = self._descriptors.wake
        self._inbox = np.empty(READ_BYTES, np.uint8).data  # has only the pages that messages were read into

    def watch_processes(self, ranks: Iterable[int]) -> None:
        """Watch the processes of ranks on this host that are not connected, to notice their end."""
        unknown = [
            rank
            for rank in ranks
            if rank in self._near and rank != self.rank
            if not (rank in self._to or rank in self._watched or rank in self.gone)
        ]
        with suppress(ConnectionError):  # then only a closed connection reports the end of some
            self.contacts.fetch(unknown)
        for rank in unknown:
            try:
                pid = self.contacts[rank].pid
                if pid != self.contact.pid:
                    self._watched.watch(rank, pid)
            except ConnectionError:
                continue
            except ProcessLookupError:
                self._ending.append(rank)

    # -- receiving -----------------------------------------------------------------------------------------------------

    def poll(self, timeout_s: float) -> list[tuple[int, int]]:
        """Wait at most ``timeout_s`` for events, which ``receive`` handles. Other threads may send meanwhile."""
        return self._descriptors.poll(0.0 if self._ending else min(timeout_s, self._far.longest_poll_s))

    def receive(self, events: list[tuple[int, int]]) -> list[Frame]:
        """Handle the events of ``poll`` and return the frames that have arrived. Events of closed descriptors are
        ignored."""
        frames: list[Frame] = []
        for fd, event in events:
            connection = self._connections.get(fd)
            if connection is not None:
                if event != _SPACE:
                    self._read(connection, frames)
                if event & _SPACE and fd in self._connections:
                    self._write(connection)
            elif fd in self._listeners:
                self._accept(self._listeners[fd], frames)
            elif (rank := self._watched.rank_of(fd)) is not None:
                self._ending.append(rank)
                self._watched.unwatch(rank)
            elif fd == self._descriptors.waker:
                os.eventfd_read(fd)
        if self._far.are_there:
            self._ending += self._far.ended()
        if self._ending:
            self._read_from_ended(frames)
        return frames

    @property
    def has_unread_ends(self) -> bool:
        """True if a rank has ended and ``receive`` has not handled it, which does not end a ``poll`` under way."""
        return bool(self._ending) or self._far.is_losing

    def _accept(self, listener: socket.socket, frames: list[Frame]) -> None:
        for connection in self._listening.accepted(listener):
            self._read(self._keep(connection), frames)
        for connection in self._listening.overdue():
            self._drop(connection)

    def _read(self, connection: PeerConnection, frames: list[Frame]) -> None:
        """Read one connection; close it at its end or after malformed data."""
        try:
            if connection.rank < 0 and not self._admit(connection):
                self._drop(connection)
                return
            if connection.only_sends:
                connection.socket.recv(1)
            elif connection.read(frames, self._inbox):
                return
        except BlockingIOError:
            return
        except (OSError, ValueError):
            pass
        self._drop(connection)
        if connection.rank not in self._near and connection is self._to.get(connection.rank):
            self._lose_way(connection.rank)
        elif connection.rank >= 0:
            self._ending.append(connection.rank)

    def _admit(self, inbound: PeerConnection) -> bool:
        """Make a connection a rank's by its greeting; False and BlockingIOError as ``Listening.admit``."""
        if not self._listening.admit(inbound):
            return False
        rank = inbound.rank
        if rank in self._near:
            self._to.setdefault(rank, inbound)
        self._watched.unwatch(rank)
        return True

    def _write(self, connection: PeerConnection) -> None:
        try:
            if connection.push():
                self._descriptors.report_space(connection, False)
        except OSError:
            self._lose_way(connection.rank)

    # -- closing -------------------------------------------------------------------------------------------------------

    def _read_from_ended(self, frames: list[Frame]) -> None:
        """Drain the sockets of closed peers, then mark them as gone."""
        for listener in self._listeners.values():
            self._accept(listener, frames)
        for connection in list(self._connections.values()):
            if connection.rank in self._ending or connection.rank < 0:
                self._read(connection, frames)
        for rank in dict.fromkeys(self._ending):
            self.gone[rank] = None
            self._watched.unwatch(rank)
            self._far.forget(rank)
            self._drop_way(rank)
        self._ending.clear()

    def close(self) -> None:
        """Close everything; ranks that still wait for this one notice it.

        A forked child may do nothing else: it shares the kernel's list of watched descriptors with its parent.
        """
        if self._has_met:
            self.contacts.close()
        self._watched.close()
        self._descriptors.close()
