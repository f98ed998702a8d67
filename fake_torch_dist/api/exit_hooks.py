"""Hooks that end a world when its process forks, exits, or fails.

A forked child closes its copies of the connections and is in no world; those of its parent stay open. A process that
exits without ``destroy_process_group`` first sends what is still unsent; with backend nccl it prints torch's warning.
An uncaught exception is printed with ``[rank1]: `` before every line, as torch does.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Final

FLUSH_S: Final = 5.0
"""Seconds for which a process that leaves waits until the others have read what it sent."""

_FORGOTTEN: Final = (  # torch 2.5's line of ProcessGroupNCCL
    "[rank{rank}]:[W{stamp} ProcessGroupNCCL.cpp:1575] Warning: WARNING: destroy_process_group() was not called before "
    "program exit, which can leak resources. For more info, please see "
    "https://pytorch.org/docs/stable/distributed.html#shutdown (function operator())\n"
)

_hooked = False


def hook_up(*, in_child: Callable[[], None], at_exit: Callable[[], None]) -> None:
    """Register the functions for forked children and for the exit of the process; only the first call has an effect."""
    global _hooked
    if not _hooked:
        _hooked = True
        os.register_at_fork(after_in_child=in_child)
        atexit.register(at_exit)


def warn_of_forgotten_destroy(rank: int, backend: str) -> None:
    """Print NCCL's warning on stderr; gloo has none."""
    if "nccl" not in backend or sys.stderr is None:
        return
    now = time.time_ns()
    clock = time.strftime("%m%d %H:%M:%S", time.localtime(now // 10**9))
    month_and_day, hours = clock.split()
    sys.stderr.write(_FORGOTTEN.format(rank=rank, stamp=f"{month_and_day} {hours}.{now % 10**9:09d}"))


class RankedExceptions:
    """A ``sys.excepthook`` that prefixes each line with the rank; ``remove`` restores the hook before it."""

    def __init__(self, rank: int) -> None:
        self._prefix = f"[rank{rank}]: "
        self._before = sys.excepthook
        sys.excepthook = self._print

    def remove(self) -> None:
        """Restore the hook, unless another one has replaced this one."""
        if sys.excepthook == self._print:
            sys.excepthook = self._before

    def _print(self, kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
        if self._before is not sys.__excepthook__ or issubclass(kind, KeyboardInterrupt):
            self._before(kind, value, trace)  # a debugger's, or another library's, which prints in its own way
            return
        lines = "".join(traceback.format_exception(kind, value, trace)).splitlines()
        sys.stderr.write("".join(f"{self._prefix}{line}\n" for line in lines))
