"""``Ending``, ``FaultLine``, ``FaultyFigures`` and ``Truth``: what a strike does, as plain data.

The session does it: in one process by printing, under a launcher really.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from numpy.typing import NDArray

Stream = Literal["stdout", "stderr", "kernel", "syslog", "slurm", "kubernetes", "instance"]


@dataclass(frozen=True, slots=True)
class FaultLine:
    """A line that a rank or a machine writes. ``after_s`` counts from the strike, in simulated seconds."""

    text: str
    rank: int = 0
    """The rank that writes it; for a kernel, a rank of that node."""
    stream: Stream = "stderr"
    after_s: float = 0.0
    sign: str = ""
    """Regular expression by which a detector knows the line; empty: the line is not claimed in the ground truth."""


@dataclass(frozen=True, slots=True)
class SignalEnd:
    """The process gets a signal, as by ``os.kill(os.getpid(), number)``."""

    number: int


@dataclass(frozen=True, slots=True)
class RaiseEnd:
    """An exception leaves the training function; ``lines`` are its class and text as a traceback's last lines."""

    type: str
    text: str


@dataclass(frozen=True, slots=True)
class ExitEnd:
    """The process exits with a code, at once."""

    code: int


@dataclass(frozen=True, slots=True)
class HangEnd:
    """The process never comes back; the others' watchdog ends them, and the launcher ends it."""

    how: str


HowItEnds: TypeAlias = SignalEnd | RaiseEnd | ExitEnd | HangEnd


@dataclass(frozen=True, slots=True)
class Death:
    """The end of one rank."""

    rank: int
    how: HowItEnds
    after_s: float = 0.0
    """Simulated seconds after the strike."""

    @property
    def exitcode(self) -> int:
        """Exit code as a launcher reports it: negative for a signal."""
        match self.how:
            case SignalEnd(number):
                return -number
            case ExitEnd(code):
                return code & 0xFF
            case HangEnd(how):
                return -15 if how == "python" else -9  # the launcher ends it, and SIGTERM does not reach all
        return 1


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of an attempt: who ends, in what order and how. Ranks without a death are ended by the launcher."""

    deaths: tuple[Death, ...]
    """Sorted by time; the first one is what a launcher reports as the root cause, unless it hangs."""
    after_s: float = 0.0
    """Simulated seconds from the strike until the whole job has ended."""
    nodes_gone: tuple[int, ...] = ()
    """Nodes whose agent goes, too."""
    restarts: bool = True
    """False if no launcher starts the job again, as after the end of an allocation."""
    job_signal: int = 0
    """Signal that the whole job is sent, agents included, as a scheduler does; 0: none."""
    saves: bool = False
    """True if the run saves its last whole step before it ends, where the config asks for it."""
    min_restart_s: float = 0.0
    """Seconds from the end to the next step at the least."""


@dataclass(frozen=True, slots=True)
class FaultyFigures:
    """Figures of consecutive steps that a fault may change; arrays over the steps."""

    steps: NDArray[Any]
    """From 1."""
    loss: NDArray[Any]
    grad_norm: NDArray[Any]


@dataclass(frozen=True, slots=True)
class Truth:
    """Section of the ground truth about the cause, and the right reaction."""

    category: str
    """gpu, gpu_memory, nvlink, network, storage, host, software, data, numeric, scheduler or clock."""
    transient: bool = True
    action: str = "restart"
    """restart, reset_gpu, reboot_node, replace_node or none."""
    quiet: bool = False
    """True if the fault causes no log line."""
    root: int | None = None
    """The rank that it begins at, where that is not the first one that is hit."""
