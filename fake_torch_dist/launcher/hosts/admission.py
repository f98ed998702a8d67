"""Where a node that hosts a job waits for the others: listens at the endpoint until enough have come.

Who comes and does not belong to the job is told why, and waited for no longer. A job that has begun takes in others at
a c10d endpoint, up to the maximum of --nnodes. A static endpoint's port is free then, for rank 0 of a torch script.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from fake_torch_dist.launcher.channel import Channel, LogMessage
from fake_torch_dist.launcher.commandline.config import LaunchConfig
from fake_torch_dist.launcher.hosts.endpoint import Endpoint, prepare
from fake_torch_dist.launcher.hosts.handshake import HostingHandshake, JoinRefused, JoinRequest
from fake_torch_dist.launcher.hosts.remote_node import RemoteNode
from fake_torch_dist.launcher.loop import Loop, Timer
from fake_torch_dist.launcher.reports.log_messages import NODE_GONE, NODE_JOINED, NODE_REFUSED, LauncherLog

_MOST_STRANGERS: Final = 64
_AT_ONCE: Final = 16
"""Connections taken before anything else is looked at."""


class Admission:
    """Call ``open`` once. Later it calls ``on_complete`` or ``on_failed``, and after ``on_complete`` it calls
    ``on_waiting`` for each node that comes. Call ``close`` before the loop is left.
    """

    def __init__(
        self, config: LaunchConfig, loop: Loop, endpoint: Endpoint, listener: socket.socket, token: bytes
    ) -> None:
        self._config = config
        self._loop = loop
        self._endpoint = endpoint
        self._listener = listener
        self._token = token
        self._strangers: dict[HostingHandshake, None] = {}
        self.waiting: list[RemoteNode] = []
        """Nodes that have come, and are not yet part of the job."""
        self._members: list[RemoteNode] = []
        self._listening = False
        self._begun = False
        self._timers: list[Timer] = []
        self._last_call: Timer | None = None
        listener.setblocking(False)

    def open(
        self,
        log: LauncherLog,
        on_complete: Callable[[], None],
        on_failed: Callable[[str], None],
        on_waiting: Callable[[], None],
    ) -> None:
        """Wait. ``on_complete``: all nodes are there, see ``admitted``. ``on_failed``: what to print."""
        self._log, self._on_complete, self._on_failed, self._on_waiting = log, on_complete, on_failed, on_waiting
        self._listening = True
        self._loop.on_readable(self._listener.fileno(), self._accept)
        self._timers.append(self._loop.after(self._endpoint.wait_s, self._give_up))
        self._look_whether_complete()

    def admitted(self) -> list[RemoteNode]:
        """Nodes that are part of the job from now on, in the order of their ranks; not those before."""
        nodes, self.waiting = self.waiting, []
        self._members = [node for node in self._members if node.is_open] + nodes
        return nodes

    def close(self, reason: str = "", exit_code: int = 1) -> None:
        """Nobody is waited for any more; those who have come without a job are told why."""
        self._stop_listening()
        for node in self.waiting:
            node.finish(exit_code, reason)

    def _stop_listening(self) -> None:
        if self._listening:
            self._listening = False
            self._loop.forget(self._listener.fileno())
        self._listener.close()
        self._stop_waiting()
        for guest in list(self._strangers):
            guest.close()

    def _stop_waiting(self) -> None:
        for timer in self._timers:
            timer.cancel()

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError:  # no descriptor is left
                self._make_room()
                return
            with suppress(OSError):  # it has gone again, which is seen when it is read
                prepare(connection)
            guest = HostingHandshake(
                self._loop, connection, address[0], self._token, self._admit, self._refused, self._known
            )  # fmt: skip
            self._strangers[guest] = None
            if len(self._strangers) > _MOST_STRANGERS:
                self._make_room()

    def _make_room(self) -> None:
        if self._strangers:
            next(iter(self._strangers)).close()

    def _known(self, guest: HostingHandshake) -> None:
        self._strangers.pop(guest, None)

    def _refused(self, reason: str) -> None:
        self._log.say(NODE_REFUSED, reason=reason)

    def _admit(self, request: JoinRequest, channel: Channel) -> tuple[Callable[[LogMessage], None], Callable[[], None]]:
        self._check(request)
        node = RemoteNode(request, channel, self._left)
        self.waiting.append(node)
        self._log.say(NODE_JOINED, node=request, count=self._count(), nnodes=_nnodes(self._config))
        self._loop.after(0, self._on_waiting if self._begun else self._look_whether_complete)  # when it was welcomed
        return node.heard, node.lost

    def _check(self, request: JoinRequest) -> None:
        config = self._config
        for flag, ours, theirs in (
            ("--rdzv-backend", config.rdzv_backend, request.backend),
            ("--rdzv-id", config.run_id, request.run_id),
            ("--nnodes", _nnodes(config), _nnodes(request)),
        ):
            if ours != theirs:
                raise JoinRefused(f"{flag} is {theirs} on {request}, and {ours} on the node that hosts the job")
        if self._count() == config.max_nodes:
            raise JoinRefused(f"the job {config.run_id!r} at {self._endpoint} has begun: nobody else can join it")
        for node in self.waiting:
            if self._endpoint.is_static and node.request.node_rank == request.node_rank:
                raise JoinRefused(f"{request} is there already: {node.request}; each needs its own --node-rank")

    def _count(self) -> int:
        """Nodes that are there, this one included."""
        return 1 + len([node for node in self._members if node.is_open]) + len(self.waiting)

    def _left(self, node: RemoteNode) -> None:
        self.waiting.remove(node)
        self._log.say(NODE_GONE, reason=f"{node.request} has left before all nodes were there")
        if self._last_call and self._count() < self._config.min_nodes:
            self._last_call.cancel()
            self._last_call = None

    def _look_whether_complete(self) -> None:
        count = self._count()
        needed = self._config.max_nodes if self._endpoint.is_static else self._config.min_nodes
        if self._begun or count < needed:
            return
        if count == self._config.max_nodes:
            self._complete()
        elif self._last_call is None:
            self._last_call = self._loop.after(self._endpoint.last_call_s, self._complete)
            self._timers.append(self._last_call)

    def _complete(self) -> None:
        self._begun = True
        self._stop_waiting()
        if self._endpoint.is_static:
            self._stop_listening()
            self.waiting.sort(key=lambda node: node.request.node_rank)
        self._on_complete()

    def _give_up(self) -> None:
        if self._last_call:
            return  # enough have come
        count, endpoint = self._count(), self._endpoint
        needed = self._config.max_nodes if endpoint.is_static else self._config.min_nodes
        said = f"Timed out after {endpoint.wait_s:g} seconds waiting for clients. {count}/{needed} clients joined."
        if not endpoint.is_static:
            said = f"RendezvousTimeoutError: {count} of {needed} nodes came within {endpoint.wait_s:g} s."
        text = f"{said} Start the others with {endpoint} as endpoint{endpoint.hint}, or raise {endpoint.wait_option}"
        self.close(text)
        self._on_failed(text)


def _nnodes(told: LaunchConfig | JoinRequest) -> str:
    low, high = told.min_nodes, told.max_nodes
    return str(high) if low == high else f"{low}:{high}"
