"""One node of a job that another node hosts: its ranks are started and ended when the host says so.

What goes wrong here is passed on to the host, which ends the other nodes; each node reports the failures of its own
ranks. Without the host there is no job.
"""

from __future__ import annotations

import signal
from dataclasses import asdict, replace

from fake_torch_dist.launcher.channel import Channel, LogMessage
from fake_torch_dist.launcher.commandline.config import LaunchConfig
from fake_torch_dist.launcher.hosts.endpoint import Endpoint
from fake_torch_dist.launcher.hosts.join import JoinClient
from fake_torch_dist.launcher.stop import Stop
from fake_torch_dist.launcher.worker_group import WorkerGroup
from fake_torch_dist.launcher.workers.rank_environment import NodeAssignment
from fake_torch_dist.stores.authentication import job_token


class FollowerNode:
    """Directs the group of this command as it is told."""

    def __init__(
        self,
        config: LaunchConfig,
        endpoint: Endpoint,
        group: WorkerGroup,
        joining: JoinClient,
    ) -> None:
        self._config = config
        self._endpoint = endpoint
        self._group = group
        self._joining = joining
        self._host: Channel | None = None
        self._attempt = -1
        self._lost = ""

    def run(self) -> int:
        """Until the job is over. Returns the exit code."""
        return self._group.run(self._begin, self._stopped, self._over)

    def _begin(self) -> None:
        self._joining.begin(
            on_joined=self._joined,
            on_failed=lambda text: self._group.finish(1, text),
            on_message=self._heard,
            on_lost=self._host_lost,
        )

    def _joined(self, host: Channel) -> None:
        self._host = host

    def _heard(self, message: LogMessage) -> None:
        match message["kind"]:
            case "start":
                place = self._seen_from_here(NodeAssignment(**message["place"]))
                self._attempt = place.attempt
                self._group.start([place])
            case "stop":
                self._group.stop(
                    Stop(
                        message["signal"], message["grace_s"], message["reason"], message["final"], message["regroup"]
                    )
                )  # fmt: skip
            case "finish":
                self._finish(message["exit_code"], message["reason"])

    def _host_lost(self) -> None:
        self._lost = f"the node that hosts the job at {self._endpoint} is gone: killed, or the connection to it broke"
        self._host = None
        if self._group.is_over:
            self._finish(1, self._lost)
        elif self._group.is_ending_for_good:
            self._group.stop(Stop(signal.SIGKILL, 0.0, self._lost, final=True))
        else:
            self._group.stop(Stop(signal.SIGTERM, self._config.shutdown_timeout_s, self._lost))

    def _stopped(self, stop: Stop) -> None:
        """The ranks are being ended for a reason found here."""
        if self._host:
            self._host.send({"kind": "stop", **stop.fields()})
        if stop.final and self._group.is_over:
            self._finish(1, stop.reason)

    def _over(self) -> None:
        if self._lost or self._group.is_signalled:
            self._finish(1, self._lost)
        elif self._host:
            cause = self._group.root_cause
            self._host.send(
                {
                    "kind": "empty", "attempt": self._attempt, "failed": self._group.failed,
                    "failure": asdict(cause) if cause else None,
                }
            )  # fmt: skip

    def _finish(self, exit_code: int, reason: str) -> None:
        self._joining.close()
        self._group.finish(exit_code, reason)

    def _seen_from_here(self, place: NodeAssignment) -> NodeAssignment:
        """A place as the host describes it, which may have the endpoint under another name."""
        port = place.store.rpartition(":")[2]
        return replace(place, store=f"{self._endpoint.host}:{port}", token=job_token().decode() or place.token)
