"""Configuration of one call of ``fake-torchrun``, which ``choices`` makes of a command line."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntFlag, StrEnum
from pathlib import Path


class EntryKind(StrEnum):
    """Kind of program that the ranks run, which decides how it is started."""

    SCRIPT = "script"
    """A Python file, as ``python -u FILE`` runs it."""
    MODULE = "module"
    """``-m``: an importable module, as ``python -u -m NAME`` runs it."""
    PROGRAM = "program"
    """``--no-python``: an executable, run without Python."""
    RUN_PATH = "run_path"
    """``--run-path``: a Python file through ``runpy.run_path`` in the rank's own interpreter."""


class Std(IntFlag):
    """Standard streams, with the numbers that ``--redirects`` and ``--tee`` use."""

    NONE = 0
    OUT = 1
    ERR = 2
    ALL = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamSelection:
    """Streams of each local rank that an option selects."""

    everyone: Std = Std.NONE
    """Streams of local ranks that ``by_local_rank`` does not name."""
    by_local_rank: Mapping[int, Std] = field(default_factory=dict)

    def of(self, local_rank: int) -> Std:
        """The selected streams of one local rank."""
        return self.by_local_rank.get(local_rank, self.everyone)


@dataclass(frozen=True, kw_only=True, slots=True)
class LaunchConfig:
    """One job, or one node's part of it. Every value has been checked; nothing here is read again later."""

    entrypoint: str
    """File, module or program, as given."""
    arguments: tuple[str, ...] = ()
    kind: EntryKind = EntryKind.SCRIPT
    python: str | None = None
    """Interpreter for the ranks (``PYTHON_EXEC``). None: this one, which can be forked."""
    start_method: str | None = None
    """``spawn``: a fresh interpreter for each rank; ``fork`` or ``forkserver``: forks of a prepared one. None: auto."""
    streamed: bool = False
    """The entrypoint is a stream, such as standard input, which can be read only once."""
    source: bytes | None = None
    """Contents of such a script, if several ranks or attempts need them."""

    min_nodes: int = 1
    max_nodes: int = 1
    nproc_per_node: int = 1
    """Processes of a node."""
    ranks_per_process: int = 1
    """Ranks that each process plays."""
    emulated: bool = False
    """This command runs all nodes."""
    node_rank: int | None = None
    """None if it was not given."""
    role: str = "default"

    rdzv_backend: str = "c10d"
    rdzv_endpoint: str = "localhost:0"
    rdzv_id: str = "none"
    """Id of the job, a new uuid4 where torchrun makes one."""
    rdzv_conf: Mapping[str, str] = field(default_factory=dict)
    standalone: bool = False
    master_addr: str = "127.0.0.1"
    master_port: int | None = None
    """None if it was not given."""
    local_addr: str | None = None

    max_restarts: int = 0
    monitor_interval_s: float = 0.1
    """Seconds between polls of torchrun; no effect here, where ranks are not polled."""
    signals: tuple[signal.Signals, ...] = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
    """Signals that are sent to every rank and end the job."""
    shutdown_timeout_s: float = 30.0
    """Grace period: seconds between a signal to the ranks and SIGKILL."""
    virtual_local_rank: bool = False

    log_dir: Path | None = None
    redirects: StreamSelection = StreamSelection()
    tee: StreamSelection = StreamSelection()
    local_ranks_filter: frozenset[int] | None = None
    """Local ranks whose output reaches the console; None for all."""
    duplicate_stdout_filters: tuple[str, ...] = ()
    duplicate_stderr_filters: tuple[str, ...] = ()
    prefix: bool | None = None
    """Lines have a prefix that names the rank. None: on tee'd streams only, as with torchrun."""
    dedupe: bool = False
    """Equal lines of many ranks are printed as one."""

    @property
    def run_id(self) -> str:
        """TORCHELASTIC_RUN_ID, and the first part of the run's log directory."""
        return self.rdzv_id
