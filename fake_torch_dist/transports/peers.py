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
import sys
from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import Final

import numpy as np

from fake_torch_dist.stores.connected_user import foreign
from fake_torch_dist.stores.sockets import keep_alive
from fake_torch_dist.transports.contacts import Contact, Contacts
from fake_torch_dist.transports.descriptors import Descriptors, allow_descriptors
from fake_torch_dist.transports.far_peers import FarPeers
from fake_torch_dist.transports.listening import Listening
from fake_torch_dist.transports.peer_processes import WatchedProcesses, is_process
from fake_torch_dist.transports.wire import READ_BYTES, Frame, Payload, PeerConnection

CONNECT_S: Final = 20.0
_SPACE: Final = select.EPOLLOUT


class Peers:
    """This process's connections. ``contacts`` of all ranks are given before the first message."""

    def __init__(self, rank: int) -> None:
        if sys.platform != "linux":
            raise NotImplementedError(
                f"ranks in processes of their own need Linux, and this is {sys.platform}; "
                "init_process_group('virtual', world_size=N) plays all ranks in one process anywhere"
            )
        self.rank = rank
        self.gone: dict[int, None] = {}
        """Ranks that have ended or left, in that order."""
        self.contacts: Contacts
        """Set by ``meet``."""
        self._has_met = False
        self._descriptors = Descriptors()
        self._connections, self._listeners = self._descriptors.connections, self._descriptors.listeners
        self.wake = self._descriptors.wake
        self._to: dict[int, PeerConnection] = {}
        """The connection on which messages to a rank are sent, by rank; it stays the same, so messages keep their
        order."""
        self._watched = WatchedProcesses(self._descriptors.epoll)
        self._far = FarPeers()
        self._near: Collection[int] = frozenset()
        """Ranks on this host, this one included: a set, or a range, which takes no memory for each rank."""
        self._inbox = np.empty(READ_BYTES, np.uint8).data  # has only the pages that messages were read into
        self._ending: list[int] = []
        """Ranks that have ended, but whose last messages may not have been read."""
        self._listening = Listening(self._descriptors)
        self.listen_on = self._listening.listen_on

    @property
    def contact(self) -> Contact:
        """The addresses of this process."""
        return self._listening.contact

    def meet(self, contacts: Contacts, secret: bytes) -> None:
        """Set the contacts of all ranks and the secret of the world."""
        self.contacts, self._has_met = contacts, True
        self._near = contacts.near if isinstance(contacts.near, range) else frozenset(contacts.near)
        self._listening.admit_world(len(contacts), secret)
        allow_descriptors(len(contacts))

    def same_host(self, ranks: Collection[int]) -> bool:
        """True if all these ranks run on this host, where memory can be read directly."""
        return all(rank in self._near for rank in ranks)

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

    # -- sending -------------------------------------------------------------------------------------------------------

    @property
    def unsent(self) -> bool:
        """True while a message is not completely with the kernel."""
        return any(connection.queue for connection in self._to.values())

    def unsent_to(self, to: int) -> bool:
        """True while a message to this rank is not completely with the kernel."""
        return to in self._to and bool(self._to[to].queue)

    def copy_unsent(self, to: int) -> None:
        """Copy the unsent messages to this rank, so that the sender may change its memory."""
        if to in self._to:
            self._to[to].copy()

    def send(
        self, to: int, group: int, channel: int, number: int, payload: Payload, tail: memoryview | None = None
    ) -> None:
        """Send a message; what the kernel does not accept at once is queued for the loop. No effect if ``to`` is gone.

        A large ``tail`` must not change until ``unsent_to`` is False.
        """
        connection = self._to.get(to)
        try:
            if connection is None:
                if to in self.gone or to in self._far:
                    return
                connection = self._connect(to)
            if not connection.send(group, channel, number, payload, tail):
                self._descriptors.report_space(connection, True)
        except OSError:
            self._lose_way(to)

    def watch(self, ranks: Iterable[int]) -> None:
        """Connect to the ranks that are not connected, to notice when they leave."""
        unknown = [
            rank
            for rank in ranks
            if rank != self.rank and rank not in self._to and rank not in self.gone and rank not in self._far
        ]
        with suppress(ConnectionError):  # so each of them is lost below
            self.contacts.fetch(unknown)
        for rank in unknown:
            try:
                connection = self._connect(rank)
                connection.greet()
                self._push(connection)
            except OSError:
                self._lose_way(rank)

    def _push(self, connection: PeerConnection) -> None:
        if not connection.push():
            self._descriptors.report_space(connection, True)

    def _connect(self, to: int) -> PeerConnection:
        contact = self.contacts[to]
        if to in self._near:
            made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            made.connect(contact.unix)
            if not is_process(made, contact.pid):  # it ended, and another process has its name
                made.close()
                raise ConnectionRefusedError(f"rank {to} is gone")
        else:
            host, _, port = contact.tcp.rpartition(":")
            made = socket.create_connection((host, int(port)), timeout=CONNECT_S)
            if not self._listening.has_token and foreign(made):
                made.close()
                raise ConnectionRefusedError(f"what listens in the place of rank {to} is not ours")
        connection = self._to[to] = self._keep(
            PeerConnection(made, to, self._listening.greetings.of(self.rank, contact))
        )
        connection.only_sends = to not in self._near  # the listener on another host has not authenticated
        self._watched.unwatch(to)
        return connection

    def _keep(self, connection: PeerConnection) -> PeerConnection:
        if connection.socket.family != socket.AF_UNIX:
            keep_alive(connection.socket)
            self._far.add(connection)
        self._descriptors.keep(connection)
        return connection

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

    def _lose_way(self, rank: int) -> None:
        """Note that nothing can be sent to ``rank``: one of this host has ended, another's last messages may come."""
        if rank in self._near:
            self._ending.append(rank)
            return
        self._far.lose_way(rank)
        self._drop_way(rank)

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

    def _drop(self, connection: PeerConnection) -> None:
        self._far.remove(connection)
        self._descriptors.drop(connection)

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

    def _drop_way(self, rank: int) -> None:
        way = self._to.pop(rank, None)
        if way is not None:
            way.queue.clear()
            if way.socket.fileno() >= 0:
                self._drop(way)

    def close(self) -> None:
        """Close everything; ranks that still wait for this one notice it.

        A forked child may do nothing else: it shares the kernel's list of watched descriptors with its parent.
        """
        if self._has_met:
            self.contacts.close()
        self._watched.close()
        self._descriptors.close()
