"""How a node comes to the one that hosts its job: tries to connect to the endpoint until somebody is there."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from fake_torch_dist.launcher.channel import Channel, LogMessage
from fake_torch_dist.launcher.hosts.endpoint import Endpoint, prepare
from fake_torch_dist.launcher.hosts.handshake import JoiningHandshake, JoinRequest
from fake_torch_dist.launcher.loop import Loop, Timer

_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0
_CONNECT_S: Final = 10.0
"""An address that does not answer is left for the next one."""
_HUNG_UP: Final = "what listens there hung up"


class JoinClient:
    """Call ``begin`` once: it tells one of two things, later; after the first, ``on_message`` and ``on_lost``."""

    def __init__(self, loop: Loop, endpoint: Endpoint, token: bytes, request: JoinRequest) -> None:
        self._loop = loop
        self._endpoint = endpoint
        self._token = token
        self._application = request
        self._tries = 0
        self._problem = "it did not answer"
        self._connecting: socket.socket | None = None
        self._visit: JoiningHandshake | None = None
        self._deadline: Timer | None = None
        self._timer: Timer | None = None

    def begin(
        self,
        *,
        on_joined: Callable[[Channel], None],
        on_failed: Callable[[str], None],
        on_message: Callable[[LogMessage], None],
        on_lost: Callable[[], None],
    ) -> None:
        """``on_failed``: what to print."""
        self._on_joined, self._on_failed, self._on_message, self._on_lost = on_joined, on_failed, on_message, on_lost
        self._deadline = self._loop.after(self._endpoint.wait_s, self._give_up)
        self._try()

    def close(self) -> None:
        """Try no more."""
        for timer in (self._deadline, self._timer):
            if timer:
                timer.cancel()
        self._drop_connecting()
        if self._visit:
            self._visit.channel.close()

    def _try(self) -> None:
        try:
            places = self._endpoint.addresses()
            family, address = places[self._tries % len(places)]
            self._connecting = sock = socket.socket(family, socket.SOCK_STREAM)
            sock.setblocking(False)
            failure = sock.connect_ex(address)
        except OSError as error:
            self._again(error.strerror or str(error))
            return
        if failure not in (0, errno.EINPROGRESS):
            self._drop_connecting(watched=False)
            self._again(os.strerror(failure))
            return
        self._loop.on_writable(sock.fileno(), self._connected)
        self._timer = self._loop.after(_CONNECT_S, lambda: self._failed("it did not answer"))

    def _connected(self) -> None:
        sock = self._connecting
        assert sock is not None and self._timer is not None
        failure = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failure or _is_itself(sock):
            failure = failure or errno.ECONNREFUSED
            self._failed(os.strerror(failure))
            return
        self._timer.cancel()
        self._loop.forget(sock.fileno())
        self._connecting = None
        with suppress(OSError):  # it has hung up, which is seen when it is read
            prepare(sock)
        self._visit = JoiningHandshake(
            self._loop, sock, self._token, self._application,
            on_welcome=self._welcomed, on_refused=self._refused, on_message=self._on_message, on_lost=self._hung_up,
        )  # fmt: skip

    def _drop_connecting(self, *, watched: bool = True) -> None:
        if self._connecting:
            if watched:
                self._loop.forget(self._connecting.fileno())
            self._connecting.close()
            self._connecting = None

    def _failed(self, problem: str) -> None:
        if self._timer:
            self._timer.cancel()
        self._drop_connecting()
        self._again(problem)

    def _again(self, problem: str) -> None:
        self._problem = problem
        pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 1.3**self._tries)
        self._tries += 1
        self._timer = self._loop.after(pause_s, self._try)

    def _hung_up(self) -> None:
        if self._visit and self._visit.welcome:
            self._on_lost()
            return
        self._visit = None
        self._again(_HUNG_UP)

    def _welcomed(self) -> None:
        assert self._visit is not None and self._deadline is not None
        self._deadline.cancel()
        self._on_joined(self._visit.channel)

    def _refused(self, reason: str) -> None:
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
    """TCP lets a socket find itself on a port that nobody has."""
    with suppress(OSError):
        return bool(sock.getsockname() == sock.getpeername())
    return False
