"""Messages between the node that hosts a job and a node that joins it, each with a launcher of its own.

A connection begins with a handshake: ``Hello``, ``Challenge``, ``Join``, then ``Welcome`` or ``JoinRejected``. After it
the host sends ``StartNode``, ``StopJob`` and ``JobFinished``; the joined node sends ``StopJob`` if its ranks are ended
for a reason found there, and ``AttemptOver``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, TypeAlias

from fake_torch_dist.launcher.failures import ProcessFailure
from fake_torch_dist.launcher.protocol.assignment import NodeAssignment
from fake_torch_dist.launcher.protocol.codec import WireMessage, kinds
from fake_torch_dist.launcher.protocol.stop import StopJob
from fake_torch_dist.terminal.descriptor import printable

PROTOCOL: Final = "fake-torchrun 4"
"""Version of all messages here. ``Hello``, ``Challenge``, ``Join`` and ``JoinRejected`` keep their kinds and the name
``application`` in every version, so that a node of another version is told why it is rejected."""
_MAX_NAME_CHARS: Final = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class JoinRequest:
    """The node that wants to join, and the options of the job that it was started with."""

    protocol: str = PROTOCOL
    backend: str
    run_id: str
    min_nodes: int
    max_nodes: int
    node_rank: int
    """-1: the host assigns a rank by the name of the node's host."""
    nproc_per_node: int
    host: str
    pid: int

    def __str__(self) -> str:
        node = f"node {self.node_rank} on " if self.node_rank >= 0 else ""
        return f"{node}{printable(self.host[:_MAX_NAME_CHARS])} (pid {self.pid})"


@dataclass(frozen=True, slots=True)
class Hello(WireMessage):
    """First message of a joining node."""

    kind: ClassVar[str] = "hello"
    nonce: bytes


@dataclass(frozen=True, slots=True)
class Challenge(WireMessage):
    """Answer of the host to ``Hello``."""

    kind: ClassVar[str] = "challenge"
    nonce: bytes


@dataclass(frozen=True, slots=True)
class Join(WireMessage):
    """Proof of the joining node that it has the job's token, and its request."""

    kind: ClassVar[str] = "join"
    proof: bytes
    application: JoinRequest


@dataclass(frozen=True, slots=True)
class Welcome(WireMessage):
    """Proof of the host that it has the job's token; the node is admitted."""

    kind: ClassVar[str] = "welcome"
    proof: bytes


@dataclass(frozen=True, slots=True)
class JoinRejected(WireMessage):
    """The node cannot join."""

    kind: ClassVar[str] = "refused"
    reason: str


@dataclass(frozen=True, slots=True)
class StartNode(WireMessage):
    """Start the ranks of the node."""

    kind: ClassVar[str] = "start"
    assignment: NodeAssignment


@dataclass(frozen=True, slots=True)
class JobFinished(WireMessage):
    """The job is over."""

    kind: ClassVar[str] = "finish"
    exit_code: int
    reason: str
    """Text to print; empty if there is none."""


@dataclass(frozen=True, slots=True)
class AttemptOver(WireMessage):
    """No process of the attempt is left on the joined node."""

    kind: ClassVar[str] = "empty"
    attempt: int
    failed: bool
    failure: ProcessFailure | None
    """Root cause among the node's own ranks."""


FromHost: TypeAlias = Challenge | JoinRejected | Welcome | StartNode | StopJob | JobFinished
ToHost: TypeAlias = Hello | Join | StopJob | AttemptOver
FROM_HOST: Final[Mapping[str, type[FromHost]]] = kinds(FromHost)
TO_HOST: Final[Mapping[str, type[ToHost]]] = kinds(ToHost)
