"""``Listening``: the sockets on which a process hears from the other ranks, and the admission of who connects.

The connecting rank proves that it holds the job's secret before its messages are read (``greetings``). On Unix sockets,
and on all of a job without a token, only processes of this user are accepted.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from fake_torch_dist.stores.authentication import job_token, mac
from fake_torch_dist.stores.connected_user import foreign
from fake_torch_dist.transports.contacts import HOST_BYTES, NAME_BYTES, Contact, host_identity
from fake_torch_dist.transports.descriptors import Descriptors
from fake_torch_dist.transports.greetings import Greetings
from fake_torch_dist.transports.wire import PeerConnection

_BACKLOG: Final = 1024
MAX_UNAUTHENTICATED: Final = 64
"""Most connections that have not authenticated, or the number of ranks if that is more; the oldest above it are
closed."""


class Listening:
    """The listeners of one process, which ``descriptors`` polls. ``contact`` is how other ranks find them."""

    def __init__(self, descriptors: Descriptors) -> None:
        self.greetings = Greetings()
        self.has_token = bool(job_token())
        self._descriptors = descriptors
        self._world_size = 0
        self._max_unauthenticated = MAX_UNAUTHENTICATED
        unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        host = mac(b"", host_identity().encode())[:HOST_BYTES]
        self.contact = Contact(host, os.getpid(), os.urandom(NAME_BYTES))
        unix.bind(self.contact.unix)
        unix.listen(_BACKLOG)
        descriptors.keep_listener(unix)

    def listen_on(self, host: str) -> None:
        """Listen on an address of this host for ranks on other hosts, and add it to ``contact``."""
        tcp = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        tcp.listen(_BACKLOG)
        self._descriptors.keep_listener(tcp)
        self.contact = self.contact._replace(tcp=f"{host}:{tcp.getsockname()[1]}")

    def admit_world(self, world_size: int, secret: bytes) -> None:
        """Admit ranks of a world of this size and secret; before, none is admitted."""
        self._world_size, self.greetings.secret = world_size, secret
        self._max_unauthenticated = max(MAX_UNAUTHENTICATED, world_size)

    def accepted(self, listener: socket.socket) -> Iterator[PeerConnection]:
        """The connections that wait at a listener, of processes that may connect."""
        with suppress(OSError):
            while True:
                accepted, _ = listener.accept()
                if (accepted.family == socket.AF_UNIX or not self.has_token) and foreign(accepted):
                    accepted.close()
                    continue
                yield PeerConnection(accepted)

    def admit(self, inbound: PeerConnection) -> bool:
        """Read the greeting; False if it is malformed or wrong, BlockingIOError while it is incomplete."""
        return self.greetings.read(inbound, self.contact, self._world_size)

    def overdue(self) -> list[PeerConnection]:
        """The oldest connections that have not authenticated, above the number that is kept."""
        unauthenticated = [held for held in self._descriptors.connections.values() if held.rank < 0]
        return unauthenticated[: -self._max_unauthenticated]
