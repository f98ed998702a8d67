"""A node whose ranks another command starts, as the command sees it that hosts the job.

To it: ``start`` (place), ``stop`` (fields of ``Stop``), ``finish`` (exit_code, reason). From it: ``stop``, when its
ranks are being ended for a reason of its own; ``empty`` (attempt, failed, failure: its root cause or null) when nothing
is left of an attempt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace

from fake_torch_dist.launcher.channel import Channel, LogMessage
from fake_torch_dist.launcher.failures import ProcessFailure
from fake_torch_dist.launcher.hosts.handshake import JoinRequest
from fake_torch_dist.launcher.stop import Stop
from fake_torch_dist.launcher.workers.rank_environment import NodeAssignment
from fake_torch_dist.stores.authentication import job_token


class RemoteNode:
    """``on_stop``, ``on_empty`` and ``on_lost`` are who directs the job, once there is somebody."""

    def __init__(self, request: JoinRequest, channel: Channel, on_lost: Callable[[RemoteNode], None]) -> None:
        self.request = request
        self.on_lost = on_lost
        self.on_stop: Callable[[RemoteNode, Stop], None] = lambda node, stop: None
        self.on_empty: Callable[[], None] = lambda: None
        self.is_empty = True
        """No process of an attempt is left there."""
        self.failed = False
        self.failure: ProcessFailure | None = None
        """Of this attempt."""
        self._channel = channel
        self._attempt = -1

    @property
    def is_open(self) -> bool:
        """Whether its command is there."""
        return self._channel.open

    def start(self, place: NodeAssignment) -> None:
        """Its ranks."""
        self.is_empty, self.failed, self.failure = False, False, None
        self._attempt = place.attempt
        if job_token():  # its own is the same, and is not sent through a network
            place = replace(place, token="")
        self._channel.send({"kind": "start", "place": asdict(place)})

    def stop(self, stop: Stop) -> None:
        """Its ranks, if any are left."""
        if not self.is_empty:
            self._channel.send({"kind": "stop", **stop.fields()})

    def finish(self, exit_code: int, reason: str) -> None:
        """The job is over, also for it."""
        self._channel.send({"kind": "finish", "exit_code": exit_code, "reason": reason})
        self._channel.close()

    def leave(self) -> None:
        """It is not waited for any more."""
        self._channel.close()
        self.is_empty = True

    def heard(self, message: LogMessage) -> None:
        """What it says; of an attempt that is over, nothing counts."""
        match message:
            case {"kind": "stop", "signal": number, "grace_s": grace_s, "reason": reason, "final": final}:
                if final or not self.is_empty:
                    self.on_stop(self, Stop(number, grace_s, reason, final))
            case {"kind": "empty", "attempt": self._attempt, "failed": failed, "failure": failure}:
                self.is_empty, self.failed = True, failed
                self.failure = ProcessFailure(**failure) if failure else None
                self.on_empty()

    def lost(self) -> None:
        """Its command has ended, or can't be reached."""
        self.on_lost(self)
