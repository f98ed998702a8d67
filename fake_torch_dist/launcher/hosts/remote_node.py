"""A node whose ranks another command starts, in the command that hosts the job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fake_torch_dist.launcher.failures import ProcessFailure
from fake_torch_dist.launcher.hosts.handshake import NodeChannel
from fake_torch_dist.launcher.protocol.assignment import NodeAssignment
from fake_torch_dist.launcher.protocol.host_messages import AttemptOver, JobFinished, JoinRequest, StartNode, ToHost
from fake_torch_dist.launcher.protocol.stop import StopJob
from fake_torch_dist.stores.authentication import job_token


class RemoteNode:
    """One such node. ``on_lost`` is called while it waits for the job to take it in; ``listen`` takes its place."""

    def __init__(self, request: JoinRequest, channel: NodeChannel, on_lost: Callable[[RemoteNode], None]) -> None:
        self.request = request
        self._on_lost = on_lost
        self._on_stop: Callable[[RemoteNode, StopJob], None] = lambda node, stop: None
        self._on_empty: Callable[[], None] = lambda: None
        self.is_empty = True
        """No process of an attempt is left there."""
        self.failed = False
        self.failure: ProcessFailure | None = None
        """Root cause of this attempt's failures there."""
        self._channel = channel
        self._attempt = -1

    @property
    def is_open(self) -> bool:
        """True if the node's command is connected."""
        return self._channel.open

    @property
    def address_of_host(self) -> str:
        """Numeric address of this host at which the node has reached it."""
        return self._channel.own_address

    def listen(
        self,
        on_stop: Callable[[RemoteNode, StopJob], None],
        on_empty: Callable[[], None],
        on_lost: Callable[[RemoteNode], None],
    ) -> None:
        """Call these when it ends its ranks, when none is left there, and when its connection is lost."""
        self._on_stop, self._on_empty, self._on_lost = on_stop, on_empty, on_lost

    def start(self, assignment: NodeAssignment) -> None:
        """Start its ranks."""
        self.is_empty, self.failed, self.failure = False, False, None
        self._attempt = assignment.attempt
        if job_token():  # the node has the same token, which need not go through a network
            assignment = replace(assignment, token="")
        self._channel.send(StartNode(assignment))

    def stop(self, stop: StopJob) -> None:
        """Stop its ranks, if any are left."""
        if not self.is_empty:
            self._channel.send(stop)

    def finish(self, exit_code: int, reason: str) -> None:
        """Send it the end of the job, and disconnect."""
        self._channel.send(JobFinished(exit_code, reason))
        self._channel.close()

    def leave(self) -> None:
        """Disconnect, and do not wait for it any more."""
        self._channel.close()
        self.is_empty = True

    def on_message(self, message: ToHost) -> None:
        """Take a message of the node. One of an earlier attempt is dropped."""
        match message:
            case StopJob():
                if message.final or not self.is_empty:
                    self._on_stop(self, replace(message, regroup=False))
            case AttemptOver() if message.attempt == self._attempt:
                self.is_empty, self.failed = True, message.failed
                self.failure = message.failure
                self._on_empty()

    def on_end(self) -> None:
        """Report that its command has ended, or cannot be reached."""
        self._on_lost(self)
