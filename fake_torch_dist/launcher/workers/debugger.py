"""Forks that a Python debugger (pydevd: VS Code, PyCharm) does not follow.

The launcher's agents are none of the user's business. A rank is followed when it is exec'ed: pydevd gives each program
that this interpreter starts the arguments that make it connect to the editor, as a child of the launcher.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any, Final

_UNPATCHED_FORK: Final = "original_fork"
"""Where pydevd keeps ``os.fork``. Its own asks the editor for a session for each process."""
_launcher: Final = os.getpid()


def fork() -> int:
    """As ``os.fork``, but a debugger does not learn of the child."""
    pid: int = getattr(os, _UNPATCHED_FORK, os.fork)()
    if pid == 0 and "pydevd" in sys.modules:
        with suppress(Exception):
            _leave(sys.modules["pydevd"], sys.modules["_pydevd_bundle.pydevd_constants"])
    return pid


def _leave(pydevd: Any, constants: Any) -> None:
    """The threads that speak with the editor are not in this process: nothing is to wait for them."""
    constants.set_global_debugger(None)
    pydevd.SetupHolder.setup = {**(pydevd.SetupHolder.setup or {}), constants.ARGUMENT_PPID: _launcher}
