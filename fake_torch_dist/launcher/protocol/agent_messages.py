"""Messages between a launcher and the agents that it forks, one for each of its nodes.

To the agent: ``StartRanks``, ``StopRanks``, ``SignalRanks``. From the agent: all others; each names its attempt, so the
launcher can drop what comes late.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Final, Literal, TypeAlias

from fake_torch_dist.launcher.protocol.assignment import NodeAssignment
from fake_torch_dist.launcher.protocol.codec import WireMessage, kinds

Stream: TypeAlias = Literal["stdout", "stderr"]
STREAMS: Final[tuple[Stream, Stream]] = ("stdout", "stderr")


class TargetKind(StrEnum):
    """Kinds of descriptors that a rank gets as standard output or standard error."""

    PIPE = "pipe"
    """A pipe that the launcher reads."""
    TERMINAL = "terminal"
    """A pseudo-terminal that the launcher reads."""
    INHERITED = "inherited"
    """The launcher's own descriptor."""
    AS_STDOUT = "as stdout"
    """Standard error only: the pipe or terminal that is standard output."""
    FILE = "file"


@dataclass(frozen=True, slots=True)
class StreamTarget:
    """Descriptor that a rank gets as standard output or standard error."""

    kind: TargetKind
    path: str = ""
    """File that is appended to; empty for other kinds."""
    columns: int = 0
    rows: int = 0
    """Size of the pseudo-terminal; 0 for other kinds."""


@dataclass(frozen=True, slots=True)
class RankTargets:
    """Standard streams and error file of one rank."""

    stdout: StreamTarget
    stderr: StreamTarget
    error_file: str
    """Path; empty if the rank has none."""


@dataclass(frozen=True, slots=True)
class StartRanks(WireMessage):
    """Start all ranks of the node."""

    kind: ClassVar[str] = "start"
    assignment: NodeAssignment
    ranks: tuple[RankTargets, ...]
    """By local rank."""
    terminal: str | None
    """Path of the launcher's terminal, if ranks may draw on it through the launcher."""
    prefix_columns: int
    """Columns that the prefix takes from each line of local rank 0."""
    color: bool
    """Ranks may write colours."""
    keys: str | None = None
    """Name of the socket over which rank 0 can get the keys of the launcher's terminal; None if it gets none."""


@dataclass(frozen=True, slots=True)
class StopRanks(WireMessage):
    """Send a signal to all ranks and what they started, and SIGKILL to what is left after ``grace_s``."""

    kind: ClassVar[str] = "stop"
    signal: int
    grace_s: float


@dataclass(frozen=True, slots=True)
class SignalRanks(WireMessage):
    """Send a signal to all ranks; each decides whether it ends."""

    kind: ClassVar[str] = "pass_on"
    signal: int


@dataclass(frozen=True, slots=True)
class RankStarted(WireMessage):
    """A rank runs. The reading ends of its pipes come with the message, in the order of ``streams``."""

    kind: ClassVar[str] = "rank"
    attempt: int
    local_rank: int
    pid: int
    streams: tuple[Stream, ...]


@dataclass(frozen=True, slots=True)
class RankExited(WireMessage):
    """A rank has ended."""

    kind: ClassVar[str] = "exit"
    attempt: int
    local_rank: int
    pid: int
    exitcode: int
    """Negative: the number of the signal that ended it."""
    time_s: float
    """Seconds since the epoch when the agent saw the end."""
    was_signalled: bool
    """``StopRanks`` had sent it a signal before."""


@dataclass(frozen=True, slots=True)
class StopSignalSent(WireMessage):
    """``StopRanks`` has sent ``signal`` to a rank."""

    kind: ClassVar[str] = "signalled"
    attempt: int
    pid: int
    signal: int


@dataclass(frozen=True, slots=True)
class StopForced(WireMessage):
    """A rank did not end by ``signal`` within the grace period and gets SIGKILL."""

    kind: ClassVar[str] = "forced"
    attempt: int
    pid: int
    signal: int


@dataclass(frozen=True, slots=True)
class StartFailed(WireMessage):
    """A rank cannot be started; those before it run."""

    kind: ClassVar[str] = "refused"
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True)
class NodeEmpty(WireMessage):
    """No process of the attempt is left on the node."""

    kind: ClassVar[str] = "empty"
    attempt: int


ToAgent: TypeAlias = StartRanks | StopRanks | SignalRanks
FromAgent: TypeAlias = RankStarted | RankExited | StopSignalSent | StopForced | StartFailed | NodeEmpty
TO_AGENT: Final[Mapping[str, type[ToAgent]]] = kinds(ToAgent)
FROM_AGENT: Final[Mapping[str, type[FromAgent]]] = kinds(FromAgent)
