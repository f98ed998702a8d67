"""Admits nodes to the job that this node hosts: listens at the endpoint until enough have joined.

A node that does not belong to the job is sent the reason and disconnected. After the job has begun, a c10d endpoint
admits more nodes, up to the maximum of --nnodes; a static endpoint is closed, which frees its port for rank 0 of a
torch script.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from fake_torch_dist.launcher.commandline.config import LaunchConfig
from fake_torch_dist.launcher.hosts.endpoint import Endpoint, set_socket_options
from fake_torch_dist.launcher.hosts.handshake import HostingHandshake, JoinRefused, NodeCallbacks, NodeChannel
from fake_torch_dist.launcher.hosts.remote_node import RemoteNode
from fake_torch_dist.launcher.loop import EventLoop, Timer
from fake_torch_dist.launcher.protocol.host_messages import JoinRequest
from fake_torch_dist.launcher.reports.log_messages import NODE_GONE, NODE_JOINED, NODE_REFUSED, LauncherLog

_MAX_HANDSHAKES: Final = 64
"""Connections whose handshake is not over, beside one for each node of --nnodes; the oldest above it are closed."""
EVERYWHERE: Final = ("::", "0.0.0.0")
_ACCEPTED_AT_ONCE: Final = 16
"""Connections accepted before the loop handles other events."""


class Admission:
    """Call ``open`` once, and ``close`` before the loop is left.

    ``on_complete`` or ``on_failed`` is called later; after ``on_complete``, ``on_waiting`` for each node that joins.
    """

    def __init__(
        self, config: LaunchConfig, loop: EventLoop, endpoint: Endpoint, listener: socket.socket, token: bytes
    ) -> None:
        self._config = config
        self._loop = loop
        self._endpoint = endpoint
        self._listener = listener
        self._token = token
        self._handshakes: dict[HostingHandshake, None] = {}
        self.waiting: list[RemoteNode] = []
        """Nodes that have joined, and are not yet part of the job."""
        self._admitted: list[RemoteNode] = []
        self._listening = False
        self._begun = False
        self._timers: list[Timer] = []
        self._last_call: Timer | None = None
        self._is_everywhere = listener.getsockname()[0] in EVERYWHERE
        listener.setblocking(False)

    @property
    def host(self) -> str:
        """Host of the job's store for the ranks: the endpoint's, if this host has its address under that name.

        Else the address at which a node has reached this host, which is not the endpoint's behind a Service or NAT.
        """
        found = [node.address_of_host for node in self._admitted] if self._is_everywhere else []
        return next(filter(None, found), self._endpoint.host)

    def names_of_hosts(self, own: str) -> str:
        """Names of the hosts of all nodes of the job, of which this one has the name ``own``, separated by commas."""
        return ",".join([own, *(node.request.host for node in self._admitted)])

    @property
    def wait_s(self) -> float:
        """Time in which nodes that are lost may come back; 0 at a static endpoint, which is closed."""
        return 0.0 if self._endpoint.is_static else self._endpoint.wait_s

    def open(
        self,
        log: LauncherLog,
        on_complete: Callable[[], None],
        on_failed: Callable[[str], None],
        on_waiting: Callable[[], None],
    ) -> None:
        """Wait for nodes. ``on_complete`` means that enough have joined; ``on_failed`` gets the text to print."""
        self._log, self._on_complete, self._on_failed, self._on_waiting = log, on_complete, on_failed, on_waiting
        self._listening = True
        self._loop.on_readable(self._listener.fileno(), self._accept)
        self._timers.append(self._loop.after(self._endpoint.wait_s, self._give_up))
        self._complete_if_enough()

    def admitted(self) -> list[RemoteNode]:
        """Return the nodes that become part of the job now, in the order of their ranks."""
        nodes, self.waiting = sorted(self.waiting, key=self._order), []
        self._admitted = [node for node in self._admitted if node.is_open] + nodes
        return nodes

    def _order(self, node: RemoteNode) -> tuple[int, str, int]:
        """Ranks of a static rendezvous are given; at a c10d endpoint they follow the names of the hosts, as torch's."""
        request = node.request
        return (request.node_rank, "", 0) if self._endpoint.is_static else (0, request.host, request.pid)

    def close(self, reason: str = "", exit_code: int = 1) -> None:
        """Stop waiting; nodes that have joined and are not part of the job are sent the reason."""
        self._stop_listening()
        for node in self.waiting:
            node.finish(exit_code, reason)

    def _stop_listening(self) -> None:
        if self._listening:
            self._listening = False
            self._loop.forget(self._listener.fileno())
        self._listener.close()
        self._stop_waiting()
        for handshake in list(self._handshakes):
            handshake.close()

    def _stop_waiting(self) -> None:
        for timer in self._timers:
            timer.cancel()

    def _accept(self) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                connection, address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError:  # no descriptor is left
                self._make_room()
                return
            with suppress(OSError):  # the peer may have gone; the read that follows finds it
                set_socket_options(connection)
            handshake = HostingHandshake(
                self._loop, connection, address[0], self._token, self._admit, self._on_refused, self._on_settled
            )  # fmt: skip
            self._handshakes[handshake] = None
            if len(self._handshakes) > _MAX_HANDSHAKES + self._config.max_nodes:
                self._make_room()

    def _make_room(self) -> None:
        if self._handshakes:
            next(iter(self._handshakes)).close()

    def _on_settled(self, handshake: HostingHandshake) -> None:
        self._handshakes.pop(handshake, None)

    def _on_refused(self, reason: str) -> None:
        self._log.emit(NODE_REFUSED, reason=reason)

    def _admit(self, request: JoinRequest, channel: NodeChannel) -> NodeCallbacks:
        self._check(request)
        node = RemoteNode(request, channel, self._on_left)
        self.waiting.append(node)
        self._log.emit(NODE_JOINED, node=request, count=self._count(), nnodes=_nnodes(self._config))
        self._loop.after(0, self._on_waiting if self._begun else self._complete_if_enough)  # after the welcome
        return node.on_message, node.on_end

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
        """Return the number of nodes that have joined, this one included."""
        return 1 + len([node for node in self._admitted if node.is_open]) + len(self.waiting)

    def _on_left(self, node: RemoteNode) -> None:
        self.waiting.remove(node)
        self._log.emit(NODE_GONE, reason=f"{node.request} has left before all nodes were there")
        if self._last_call and self._count() < self._config.min_nodes:
            self._last_call.cancel()
            self._last_call = None

    def _complete_if_enough(self) -> None:
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
        self._on_complete()

    def _give_up(self) -> None:
        if self._last_call:
            return  # enough nodes have joined
        count, endpoint = self._count(), self._endpoint
        needed = self._config.max_nodes if endpoint.is_static else self._config.min_nodes
        said = f"Timed out after {endpoint.wait_s:g} seconds waiting for clients. {count}/{needed} clients joined."
        if not endpoint.is_static:
            said = f"RendezvousTimeoutError: {count} of {needed} nodes came within {endpoint.wait_s:g} s."
        text = f"{said} Start the others with {endpoint} as endpoint{endpoint.hint}, or raise {endpoint.wait_option}"
        self.close(text)
        self._on_failed(text)


def _nnodes(options: LaunchConfig | JoinRequest) -> str:
    low, high = options.min_nodes, options.max_nodes
    return str(high) if low == high else f"{low}:{high}"
