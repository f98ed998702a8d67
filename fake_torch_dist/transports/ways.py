"""``Ways``: the connections on which a process sends to the other ranks, one for each; ``Peers`` receives, too."""

from __future__ import annotations

import socket
import sys
from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import Final

from fake_torch_dist.stores.connected_user import foreign
from fake_torch_dist.stores.sockets import keep_alive
from fake_torch_dist.transports.contacts import Contact, Contacts
from fake_torch_dist.transports.descriptors import Descriptors, allow_descriptors
from fake_torch_dist.transports.far_peers import FarPeers
from fake_torch_dist.transports.listening import Listening
from fake_torch_dist.transports.peer_processes import WatchedProcesses, is_process
from fake_torch_dist.transports.wire import Payload, PeerConnection

CONNECT_S: Final = 20.0


class Ways:
    """The sending half of ``Peers``."""

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
        self._to: dict[int, PeerConnection] = {}
        """The connection on which messages to a rank are sent, by rank; it stays the same, so messages keep their
        order."""
        self._watched = WatchedProcesses(self._descriptors.epoll)
        self._far = FarPeers()
        self._near: Collection[int] = frozenset()
        """Ranks on this host, this one included: a set, or a range, which takes no memory for each rank."""
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

    # -- closing -------------------------------------------------------------------------------------------------------

    def _lose_way(self, rank: int) -> None:
        """Note that nothing can be sent to ``rank``: one of this host has ended, another's last messages may come."""
        if rank in self._near:
            self._ending.append(rank)
            return
        self._far.lose_way(rank)
        self._drop_way(rank)

    def _drop(self, connection: PeerConnection) -> None:
        self._far.remove(connection)
        self._descriptors.drop(connection)

    def _drop_way(self, rank: int) -> None:
        way = self._to.pop(rank, None)
        if way is not None:
            way.queue.clear()
            if way.socket.fileno() >= 0:
                self._drop(way)
