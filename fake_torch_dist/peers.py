"""Connections to the other ranks, and the news that a rank is gone.

Each process listens on one socket. A connection carries the messages of the rank that made it, so it is made when that
rank first has something to say. On one host they are Unix sockets without a file, and a process's end is seen through
its pidfd; between hosts they are TCP. Who connects proves that it holds the job's secret before it is heard. A rank
closes its connections when it ends or leaves the world, so a closed connection means that it is gone.

What this module does not do: other systems than Linux (epoll, pidfd, sockets without a file).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import select
import socket
import struct
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final

from .wire import Contact, Frame, Inbound, Outbound, Payload, host_identity

_HELLO: Final = struct.Struct("<8sI32s")  # magic, rank, proof
_MAGIC: Final = b"ftdist01"
CONNECT_S: Final = 30.0
STRANGERS: Final = 64
"""Connections that have not said who they are; of more than that the oldest are closed."""


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
        self.contacts: Sequence[Contact] = ()
        self._secret = os.urandom(32)  # nobody knows it until we meet
        self._poll = select.epoll()
        self._inbound: dict[int, Inbound] = {}
        self._outbound: dict[int, Outbound] = {}
        self._rank_of_outbound: dict[int, int] = {}
        self._pidfds: dict[int, int] = {}
        self._listeners: dict[int, socket.socket] = {}
        self._ending: list[int] = []
        """Ranks that have ended, as far as we can see, but whose last words may not have been heard."""
        unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        unix.bind("\0fake-torch-dist-" + os.urandom(12).hex())
        self._listen(unix)
        name = unix.getsockname().decode("latin-1")
        self.contact = Contact(host_identity(), os.getpid(), name, "", os.urandom(16).hex())

    def listen_on(self, host: str) -> None:
        """Let ranks on other hosts connect, to an address of this one; ``contact`` says where."""
        tcp = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self._listen(tcp)
        self.contact = self.contact._replace(tcp=f"{host}:{tcp.getsockname()[1]}")

    def _listen(self, listener: socket.socket) -> None:
        listener.setblocking(False)
        listener.listen(1024)
        self._listeners[listener.fileno()] = listener
        self._poll.register(listener, select.EPOLLIN)

    def meet(self, contacts: Sequence[Contact], secret: bytes) -> None:
        """Learn where everybody is and what they know, and watch those on this host for their end."""
        self.contacts, self._secret = contacts, secret
        for rank, contact in enumerate(contacts):
            if rank == self.rank or contact.host != self.contact.host or contact.pid == self.contact.pid:
                continue
            try:
                fd = os.pidfd_open(contact.pid)
            except ProcessLookupError:
                self._ending.append(rank)
            except OSError:
                continue  # an old kernel, or no descriptor left: its closed connections will tell
            else:
                self._pidfds[fd] = rank
                self._poll.register(fd, select.EPOLLIN)

    def same_host(self, ranks: Iterable[int]) -> bool:
        """Whether all these ranks run on one host, where memory can be read directly."""
        return len({self.contacts[rank].host for rank in ranks}) == 1

    # -- sending ------------------------------------------------------------------------------------------------------

    @property
    def unsent(self) -> bool:
        """Whether anything waits for the kernel to take it."""
        return any(outbound.queue for outbound in self._outbound.values())

    def unsent_to(self, to: int) -> bool:
        """Whether anything waits for the kernel to take it on its way to this rank."""
        return to in self._outbound and bool(self._outbound[to].queue)

    def copy_unsent(self, to: int) -> None:
        """Make what waits for this rank independent of the sender's memory."""
        if to in self._outbound:
            self._outbound[to].copy()

    def send(
        self, to: int, group: int, channel: int, number: int, payload: Payload, tail: memoryview | None = None
    ) -> None:
        """Send a message; what the kernel does not take at once goes while the loop turns. Silent if ``to`` is gone.

        A large ``tail`` must stay as it is until ``unsent_to`` says that it has been written.
        """
        if to in self.gone:
            return
        try:
            outbound = self._outbound.get(to) or self._connect(to)
            idle = not outbound.queue
            outbound.add(group, channel, number, payload, tail)
            if idle and not outbound.push():
                self._poll.modify(outbound.socket, select.EPOLLIN | select.EPOLLOUT)
        except OSError:
            self._lose(to)

    def watch(self, ranks: Iterable[int]) -> None:
        """Connect to those with whom nothing has been exchanged yet, to see them leave."""
        for rank in ranks:
            if rank != self.rank and rank not in self._outbound and rank not in self.gone:
                try:
                    self._connect(rank)
                except OSError:
                    self._lose(rank)

    def _connect(self, to: int) -> Outbound:
        contact = self.contacts[to]
        if contact.host == self.contact.host:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.connect(contact.unix.encode("latin-1"))
        else:
            host, _, port = contact.tcp.rpartition(":")
            connection = socket.create_connection((host, int(port)), timeout=CONNECT_S)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(_HELLO.pack(_MAGIC, self.rank, self._proof(contact, self.rank)))
        connection.setblocking(False)
        outbound = self._outbound[to] = Outbound(connection)
        self._rank_of_outbound[connection.fileno()] = to
        self._poll.register(connection, select.EPOLLIN)
        return outbound

    def _proof(self, listener: Contact, rank: int) -> bytes:
        """Only who holds the secret can say that it is ``rank`` to this listener; the secret itself is never sent."""
        return hmac.digest(self._secret, f"{listener.nonce}/{rank}".encode(), hashlib.sha256)

    # -- receiving ----------------------------------------------------------------------------------------------------

    def receive(self, timeout_s: float) -> list[Frame]:
        """Frames that have arrived, after waiting at most ``timeout_s`` for anything to happen."""
        frames: list[Frame] = []
        for fd, event in self._poll.poll(0 if self._ending else timeout_s):
            if fd in self._inbound:
                self._read(self._inbound[fd], frames)
            elif fd in self._rank_of_outbound:
                self._write(fd, event)
            elif fd in self._listeners:
                self._accept(self._listeners[fd], frames)
            elif fd in self._pidfds:
                self._ending.append(self._pidfds.pop(fd))
                self._poll.unregister(fd)
                os.close(fd)
        if self._ending:
            self._hear_last_words(frames)
        return frames

    def _accept(self, listener: socket.socket, frames: list[Frame]) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connection.setblocking(False)
                if connection.family == socket.AF_UNIX and _user_of(connection) != os.geteuid():
                    connection.close()
                    continue
                inbound = self._inbound[connection.fileno()] = Inbound(connection)
                self._poll.register(connection, select.EPOLLIN)
                self._read(inbound, frames)
        strangers = [inbound for inbound in self._inbound.values() if inbound.rank < 0]
        for inbound in strangers[:-STRANGERS]:
            self._drop(inbound)

    def _read(self, inbound: Inbound, frames: list[Frame]) -> None:
        """Take what one connection has; at its end, or at nonsense, drop it."""
        try:
            if (inbound.rank >= 0 or self._admit(inbound)) and inbound.read(frames):
                return
        except BlockingIOError:
            return
        except (OSError, ValueError):
            pass
        self._drop(inbound)
        if inbound.rank >= 0:
            self._ending.append(inbound.rank)

    def _admit(self, inbound: Inbound) -> bool:
        """Read the greeting; False if it is none, BlockingIOError while it is not whole."""
        while len(inbound.buffer) < _HELLO.size:
            data = inbound.socket.recv(_HELLO.size - len(inbound.buffer))
            if not data:
                return False
            inbound.buffer += data
        magic, rank, proof = _HELLO.unpack(inbound.buffer)
        inbound.buffer.clear()
        known = magic == _MAGIC and rank < len(self.contacts)
        if not known or not hmac.compare_digest(proof, self._proof(self.contact, rank)):
            return False
        inbound.rank = rank
        return True

    def _write(self, fd: int, event: int) -> None:
        rank = self._rank_of_outbound[fd]
        outbound = self._outbound[rank]
        try:
            if event & (select.EPOLLHUP | select.EPOLLERR) or (event & select.EPOLLIN and not outbound.socket.recv(1)):
                self._lose(rank)
            elif outbound.push():
                self._poll.modify(outbound.socket, select.EPOLLIN)
        except OSError:
            self._lose(rank)

    # -- ends ---------------------------------------------------------------------------------------------------------

    def _lose(self, rank: int) -> None:
        """The connection to this rank broke: it has ended, or left."""
        outbound = self._outbound.pop(rank, None)
        if outbound:
            del self._rank_of_outbound[outbound.socket.fileno()]
            self._poll.unregister(outbound.socket)
            outbound.socket.close()
        self._ending.append(rank)

    def _drop(self, inbound: Inbound) -> None:
        self._poll.unregister(inbound.socket)
        del self._inbound[inbound.socket.fileno()]
        inbound.socket.close()

    def _hear_last_words(self, frames: list[Frame]) -> None:
        """Take what those who have ended said before, then believe that they are gone."""
        for listener in self._listeners.values():
            self._accept(listener, frames)
        for inbound in list(self._inbound.values()):
            if inbound.rank in self._ending or inbound.rank < 0:
                self._read(inbound, frames)
        self.gone.update(dict.fromkeys(self._ending))
        self._ending.clear()

    def close(self) -> None:
        """Close everything; whoever still waits for us sees our end.

        In a forked child this is all that may be done: the kernel's list of what to watch is shared with the parent.
        """
        for fd in self._pidfds:
            os.close(fd)
        sockets = [*self._listeners.values(), *(held.socket for held in self._inbound.values())]
        for each in [*sockets, *(held.socket for held in self._outbound.values())]:
            each.close()
        self._poll.close()


def _user_of(connection: socket.socket) -> int:
    """User id of the process at the other end of a Unix socket."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])
