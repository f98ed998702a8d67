"""Log lines of the launcher about itself, on standard error: torchrun's letter, clock, process, place and text.

A line that torchrun has, too, names torchrun's own file and line (2.13.0), so that programs that read its logs find
it; only our own lines name a file of this package. LOGLEVEL sets the lowest severity that is written.
What this module does not do: the report of failed ranks, which is no log line (``report``).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Final, Literal

from fake_torch_dist.terminal.descriptor import printable

LEVELS: Final = {
    "CRITICAL": 50, "FATAL": 50, "ERROR": 40, "WARN": 30, "WARNING": 30, "INFO": 20, "DEBUG": 10, "NOTSET": 0,
}  # fmt: skip
"""Levels of ``logging`` by name. The module itself would have work to do in every rank that is forked."""
_CONTENTS: Final = "contents"
"""Name of the field that may have several lines."""
_LEVEL_OF: Final = {"I": LEVELS["INFO"], "W": LEVELS["WARNING"], "E": LEVELS["ERROR"]}


@dataclass(frozen=True, slots=True)
class LogMessage:
    """A log message; each of its lines gets the whole prefix."""

    letter: Literal["I", "W", "E"]
    place: str
    """File and line, as torchrun shows them; empty for the place of the call."""
    text: str
    """Template for ``str.format``."""


class LauncherLog:
    """Writes messages, each with one call of ``write``; those below ``level`` are dropped."""

    def __init__(
        self,
        write: Callable[[str], object],
        *,
        level: int = LEVELS["WARNING"],
        now: Callable[[], float] = time.time,
        pid: int | None = None,
    ) -> None:
        self._write = write
        self._level = level
        self._now = now
        self._pid = pid

    def enabled(self, message: LogMessage) -> bool:
        """Return whether a message would be written; for messages whose fields are costly."""
        return _LEVEL_OF[message.letter] >= self._level

    def emit(self, message: LogMessage, **fields: object) -> None:
        """Write a message, with the pid of this process or of the one that the log was made for."""
        if not self.enabled(message):
            return
        seconds, milliseconds = divmod(int(self._now() * 1e3), 1000)
        clock = time.strftime("%m%d %H:%M:%S", time.localtime(seconds))
        pid = os.getpid() if self._pid is None else self._pid
        place = message.place or _place(sys._getframe(1))
        prefix = f"{message.letter}{clock}.{milliseconds:03d}000 {pid} {place}] "
        text = message.text.format(**{name: _shown(name, value) for name, value in fields.items()})
        self._write("".join(f"{prefix}{line}\n" for line in text.split("\n")))


def _shown(name: str, value: object) -> object:
    """Return a field for output: text on one line, except a file's contents."""
    if name == _CONTENTS:
        return "\n".join(map(printable, str(value).split("\n")))
    return printable(value) if isinstance(value, (str, os.PathLike)) else value


def _place(frame: FrameType) -> str:
    module: str = frame.f_globals["__name__"]
    return f"{module.replace('.', '/')}.py:{frame.f_lineno}"


def level_named(text: str | None) -> int:
    """Return the level that LOGLEVEL names; unset is WARNING. Raises ValueError with the text to print."""
    if text is None:
        return LEVELS["WARNING"]
    level = LEVELS.get(text.upper())
    if level is None:
        raise ValueError(f"Unknown level: {text!r} (LOGLEVEL); use DEBUG, INFO, WARNING, ERROR or CRITICAL")
    return level


# torch 2.13.0, at every level that is usual
SENDING_SIGNAL: Final = LogMessage(
    "W", "torch/distributed/elastic/multiprocessing/api.py:1028", "Sending process {pid} closing signal {signal}"
)
FORCING_EXIT: Final = LogMessage(
    "W",
    "torch/distributed/elastic/multiprocessing/api.py:1047",
    "Unable to shutdown process {pid} via {signal}, forcefully exiting via {kill}",
)
FAILED: Final = LogMessage(
    "E",
    "torch/distributed/elastic/multiprocessing/api.py:1002",
    "failed (exitcode: {exitcode}) local_rank: {local_rank} (pid: {pid}) of binary: {binary}",
)
FAILED_FUNCTION: Final = LogMessage(  # --run-path
    "E",
    "torch/distributed/elastic/multiprocessing/api.py:836",
    "failed (exitcode: {exitcode}) local_rank: {local_rank} (pid: {pid}) of fn: {function} "
    "(start_method: {start_method})",
)
DEATH_SIGNAL: Final = LogMessage(
    "W",
    "torch/distributed/elastic/agent/server/api.py:753",
    "Received {signal} death signal, shutting down workers",
)
OMP_NUM_THREADS: Final = LogMessage(
    "W",
    "torch/distributed/run.py:874",
    "\n*****************************************\n"
    "Setting OMP_NUM_THREADS environment variable for each process to be {threads} in default, to avoid your system "
    "being overloaded, please further tune the variable for optimal performance in your application as needed. \n"
    "*****************************************",
)
REPLY_FILE_MALFORMED: Final = LogMessage(  # torch's traceback follows; here its last line does
    "E",
    "torch/distributed/elastic/multiprocessing/errors/__init__.py:132",
    "Failed to parse reply file: {path}\n{reason}",
)
NO_PARENT_ERROR_FILE: Final = LogMessage(
    "E",
    "torch/distributed/elastic/multiprocessing/errors/error_handler.py:145",
    "no error file defined for parent, to copy child error file ({path})",
)
PARENT_ERROR_FILE_EXISTS: Final = LogMessage(
    "W",
    "torch/distributed/elastic/multiprocessing/errors/error_handler.py:156",
    "{path} already exists and will be overwritten. Original contents:\n{contents}",
)
NO_CODE_IN_TEXT: Final = LogMessage(
    "W",
    "torch/distributed/elastic/multiprocessing/errors/error_handler.py:105",
    "child error file ({path}) has a new message format. \nskipping error code override",
)

# torch 2.13.0, with LOGLEVEL=INFO
NPROC_PER_NODE: Final = LogMessage("I", "torch/distributed/run.py:747", "Using nproc_per_node={nproc_per_node}.")
STARTING_WORKERS: Final = LogMessage(
    "I",
    "torch/distributed/elastic/agent/server/api.py:912",
    "[{role}] starting workers for entrypoint: {entrypoint}",
)
RENDEZVOUS_COMPLETE: Final = LogMessage(
    "I",
    "torch/distributed/elastic/agent/server/api.py:553",
    "[{role}] Rendezvous complete for workers. Result:\n"
    "  restart_count={restart_count}\n"
    "  master_addr={master_addr}\n"
    "  master_port={master_port}\n"
    "  group_rank={group_rank}\n"
    "  group_world_size={group_world_size}\n"
    "  local_ranks={local_ranks}\n"
    "  role_ranks={role_ranks}\n"
    "  global_ranks={global_ranks}\n"
    "  role_world_sizes={role_world_sizes}\n"
    "  global_world_sizes={global_world_sizes}\n"
    "  event_log_handler=null\n",
)
STARTING_GROUP: Final = LogMessage(
    "I", "torch/distributed/elastic/agent/server/api.py:715", "[{role}] Starting worker group"
)
LOG_DIRECTORY: Final = LogMessage(
    "I", "torch/distributed/elastic/multiprocessing/api.py:280", "log directory set to: {path}"
)
RESTARTING: Final = LogMessage(
    "I",
    "torch/distributed/elastic/agent/server/api.py:942",
    "[{role}] Worker group FAILED. {attempts_left}/{max_restarts} attempts left; will restart worker group",
)
GROUP_FINISHED: Final = LogMessage(
    "I",
    "torch/distributed/elastic/agent/server/api.py:932",
    "[{role}] worker group successfully finished. Waiting {timeout_s} seconds for other agents to finish.",
)

# Ours
SECOND_SIGNAL: Final = LogMessage("W", "", "Received {signal} again, killing the workers at once")
SIGNAL_PASSED_ON: Final = LogMessage("I", "", "Received {signal}, passed on to the workers")
OUTPUT_CLOSED: Final = LogMessage("W", "", "Nobody reads the output any more, shutting down workers")
STOPPED_ELSEWHERE: Final = LogMessage("W", "", "{reason}: shutting down workers")
NODE_JOINED: Final = LogMessage("I", "", "{node} has joined, {count} of {nnodes} nodes are there")
NODE_REFUSED: Final = LogMessage("W", "", "A node was refused: {reason}")
NODE_GONE: Final = LogMessage("W", "", "{reason}")
NODES_AWAITED: Final = LogMessage(
    "W", "", "{count} of {nnodes} nodes are left: the ranks start again when others have come, within {wait_s:g} s"
)
RANK_NOT_STARTED: Final = LogMessage("E", "", "{reason}")
PARENT_FILE_UNWRITABLE: Final = LogMessage(
    "W",
    "",
    "TORCHELASTIC_ERROR_FILE={path} can't be written: {reason}. The root cause is in the report only",
)
