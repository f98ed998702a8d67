"""The side of a node that has joined a job: its ranks are started and ended by messages of the host.

Problems found here are passed on to the host, which ends the other nodes. Each node reports the failures of its own
ranks. When the host is gone, the job is over.
"""

from __future__ import annotations

import signal
from dataclasses import replace

from fake_torch_dist.launcher.commandline.config import LaunchConfig
from fake_torch_dist.launcher.hosts.endpoint import Endpoint
from fake_torch_dist.launcher.hosts.handshake import HostChannel
from fake_torch_dist.launcher.hosts.join import JoinClient
from fake_torch_dist.launcher.protocol.assignment import NodeAssignment
from fake_torch_dist.launcher.protocol.host_messages import AttemptOver, FromHost, JobFinished, StartNode
from fake_torch_dist.launcher.protocol.stop import StopJob
from fake_torch_dist.launcher.worker_group import WorkerGroup
from fake_torch_dist.stores.authentication import job_token
from fake_torch_dist.stores.own_addresses import is_numeric


class FollowerNode:
    """Directs the worker group of this command by the messages of the host."""

    def __init__(self, config: LaunchConfig, endpoint: Endpoint, group: WorkerGroup, client: JoinClient) -> None:
        self._config = config
        self._endpoint = endpoint
        self._group = group
        self._client = client
        self._host: HostChannel | None = None
        self._attempt = -1
        self._lost = ""

    def run(self) -> int:
        """Take part in the job until it is over. Returns the exit code."""
        return self._group.run(self._begin, self._on_stop, self._on_over)

    def _begin(self) -> None:
        self._client.begin(
            on_joined=self._on_joined,
            on_failed=lambda text: self._group.finish(1, text),
            on_message=self._on_message,
            on_lost=self._on_host_lost,
        )

    def _on_joined(self, host: HostChannel) -> None:
        self._host = host

    def _on_message(self, message: FromHost) -> None:
        match message:
            case StartNode():
                assignment = self._as_seen_here(message.assignment)
                self._attempt = assignment.attempt
                self._group.start([assignment])
            case StopJob():
                self._group.stop(message)
            case JobFinished():
                self._finish(message.exit_code, message.reason)

    def _on_host_lost(self) -> None:
        self._lost = f"the node that hosts the job at {self._endpoint} is gone: killed, or the connection to it broke"
        self._host = None
        if self._group.is_over:
            self._finish(1, self._lost)
        elif self._group.is_ending_for_good:
            self._group.stop(StopJob(signal.SIGKILL, 0.0, self._lost, final=True))
        else:
            self._group.stop(StopJob(signal.SIGTERM, self._config.shutdown_timeout_s, self._lost))

    def _on_stop(self, stop: StopJob) -> None:
        """Report to the host that the ranks are being ended for a reason found here."""
        if self._host:
            self._host.send(stop)
        if stop.final and self._group.is_over:
            self._finish(1, stop.reason)

    def _on_over(self) -> None:
        if self._lost or self._group.is_signalled:
            self._finish(1, self._lost)
        elif self._host:
            self._host.send(AttemptOver(self._attempt, self._group.failed, self._group.root_cause))

    def _finish(self, exit_code: int, reason: str) -> None:
        self._client.close()
        self._group.finish(exit_code, reason)

    def _as_seen_here(self, assignment: NodeAssignment) -> NodeAssignment:
        """Replace the host's own name in an assignment by the one that this node reaches it under.

        A numeric address stays: it is that of the host itself, not of a Service in front of it.
        """
        host, _, port = assignment.store.rpartition(":")
        token = job_token().decode() or assignment.token
        return replace(assignment, store=f"{host if is_numeric(host) else self._endpoint.host}:{port}", token=token)
