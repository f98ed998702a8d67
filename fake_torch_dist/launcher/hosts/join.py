"""Connects a joining node to the node that hosts its job: tries the endpoint until a host answers there."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from fake_torch_dist.launcher.hosts.endpoint import Endpoint, set_socket_options
from fake_torch_dist.launcher.hosts.handshake import HostChannel, JoiningHandshake
from fake_torch_dist.launcher.loop import EventLoop, Timer
from fake_torch_dist.launcher.protocol.host_messages import FromHost, JoinRequest

_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0
_CONNECT_S: Final = 10.0
"""Time after which an address that does not answer is left for the next one."""
_NO_ANSWER: Final = "it did not answer"
_HUNG_UP: Final = "what listens there hung up"


class JoinClient:
    """Call ``begin`` once. Later ``on_joined`` or ``on_failed`` is called; after ``on_joined`` the other callbacks."""

    def __init__(self, loop: EventLoop, endpoint: Endpoint, token: bytes, request: JoinRequest) -> None:
        self._loop = loop
        self._endpoint = endpoint
        self._token = token
        self._request = request
        self._tries = 0
        self._problem = _NO_ANSWER
        self._connecting: socket.socket | None = None
        self._handshake: JoiningHandshake | None = None
        self._deadline: Timer | None = None
        self._timer: Timer | None = None

    def begin(
        self,
        *,
        on_joined: Callable[[HostChannel], None],
        on_failed: Callable[[str], None],
        on_message: Callable[[FromHost], None],
        on_lost: Callable[[], None],
    ) -> None:
        """Start to connect. ``on_failed`` is called with the text to print."""
        self._on_joined, self._on_failed, self._on_message, self._on_lost = on_joined, on_failed, on_message, on_lost
        self._deadline = self._loop.after(self._endpoint.wait_s, self._give_up)
        self._try()

    def close(self) -> None:
        """Stop trying, and close the connection if there is one."""
        for timer in (self._deadline, self._timer):
            if timer:
                timer.cancel()
        self._drop_connecting()
        if self._handshake:
            self._handshake.channel.close()

    def _try(self) -> None:
        try:
            found = self._endpoint.addresses()
            family, address = found[self._tries % len(found)]
            self._connecting = sock = socket.socket(family, socket.SOCK_STREAM)
            sock.setblocking(False)
            failure = sock.connect_ex(address)
        except OSError as error:
            self._retry(error.strerror or str(error))
            return
        if failure not in (0, errno.EINPROGRESS):
            self._drop_connecting(watched=False)
            self._retry(os.strerror(failure))
            return
        self._loop.on_writable(sock.fileno(), self._on_connected)
        self._timer = self._loop.after(_CONNECT_S, lambda: self._fail(_NO_ANSWER))

    def _on_connected(self) -> None:
        sock = self._connecting
        assert sock is not None and self._timer is not None
        failure = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failure or _is_itself(sock):
            failure = failure or errno.ECONNREFUSED
            self._fail(os.strerror(failure))
            return
        self._timer.cancel()
        self._loop.forget(sock.fileno())
        self._connecting = None
        with suppress(OSError):  # the peer may have hung up; the read that follows finds it
            set_socket_options(sock)
        self._handshake = JoiningHandshake(
            self._loop, sock, self._token, self._request, on_welcome=self._on_welcome, on_refused=self._on_refused,
            on_message=self._on_message, on_lost=self._on_end,
        )  # fmt: skip

    def _drop_connecting(self, *, watched: bool = True) -> None:
        if self._connecting:
            if watched:
                self._loop.forget(self._connecting.fileno())
            self._connecting.close()
            self._connecting = None

    def _fail(self, problem: str) -> None:
        if self._timer:
            self._timer.cancel()
        self._drop_connecting()
        self._retry(problem)

    def _retry(self, problem: str) -> None:
        self._problem = problem
        pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 1.3**self._tries)
        self._tries += 1
        self._timer = self._loop.after(pause_s, self._try)

    def _on_end(self) -> None:
        if self._handshake and self._handshake.is_welcome:
            self._on_lost()
            return
        self._handshake = None
        self._retry(_HUNG_UP)

    def _on_welcome(self) -> None:
        assert self._handshake is not None and self._deadline is not None
        self._deadline.cancel()
        self._on_joined(self._handshake.channel)

    def _on_refused(self, reason: str) -> None:
        self.close()
        self._on_failed(f"the node at {self._endpoint} does not take this one: {reason}")

    def _give_up(self) -> None:
        endpoint = self._endpoint
        self.close()
        self._on_failed(
            f"The client socket has timed out after {1000 * endpoint.wait_s:.0f}ms while trying to connect to "
            f"({endpoint.host}, {endpoint.port}). {self._problem}: start the node that hosts the job there"
            f"{' (--node-rank 0)' if endpoint.is_static else ''}{endpoint.hint}, or raise {endpoint.wait_option}"
        )


def _is_itself(sock: socket.socket) -> bool:
    """Return whether a socket is connected to itself, as TCP may do on a port where nothing listens."""
    with suppress(OSError):
        return bool(sock.getsockname() == sock.getpeername())
    return False
