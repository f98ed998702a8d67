"""Forks that a Python debugger (pydevd: VS Code, PyCharm) does not follow.

Users do not debug the launcher's agents. A rank that is a program of its own is followed: pydevd gives each program
that this interpreter starts the arguments that make it connect to the editor, as a child of the launcher.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any, Final

_UNPATCHED_FORK: Final = "original_fork"
"""Attribute in which pydevd keeps ``os.fork``; its replacement asks the editor for a session for each process."""
_launcher: Final = os.getpid()


def fork() -> int:
    """Fork like ``os.fork``, without a notice to a debugger."""
    pid: int = getattr(os, _UNPATCHED_FORK, os.fork)()
    if pid == 0 and "pydevd" in sys.modules:
        with suppress(Exception):
            _leave(sys.modules["pydevd"], sys.modules["_pydevd_bundle.pydevd_constants"])
    return pid


def _leave(pydevd: Any, constants: Any) -> None:
    """Detach the debugger: its threads, which communicate with the editor, do not exist in the fork."""
    constants.set_global_debugger(None)
    pydevd.SetupHolder.setup = {**(pydevd.SetupHolder.setup or {}), constants.ARGUMENT_PPID: _launcher}
