"""``Listeners``: the sockets on which a rank accepts connections of others."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator

from fake_torch_dist.stores.connected_user import foreign


class Listeners:
    """Listening sockets, which ``poll`` watches. Without a token only processes of this user are accepted."""

    def __init__(self, poll: select.epoll, *, has_token: bool) -> None:
        self._poll = poll
        self._has_token = has_token
        self._sockets: dict[int, socket.socket] = {}

    def add(self, listener: socket.socket) -> None:
        """Listen on a socket that has its address."""
        listener.setblocking(False)
        listener.listen(1024)
        self._sockets[listener.fileno()] = listener
        self._poll.register(listener, select.EPOLLIN)

    def __contains__(self, fd: int) -> bool:
        return fd in self._sockets

    def __iter__(self) -> Iterator[int]:
        return iter(self._sockets)

    def accepted(self, fd: int) -> Iterator[socket.socket]:
        """Yield the connections that wait on a listener; those of other users are closed. Ends with an OSError."""
        listener = self._sockets[fd]
        while True:
            accepted, _ = listener.accept()
            if (accepted.family == socket.AF_UNIX or not self._has_token) and foreign(accepted):
                accepted.close()
            else:
                yield accepted

    def close(self) -> None:
        """Close the sockets."""
        for listener in self._sockets.values():
            listener.close()
