"""The stack frames above torchrun's last exception, which log collectors join into one record.

Functions, line numbers and source lines are torchrun's (2.13.0) as Python 3.11 and 3.12 print them. Files have the
paths that they would have if torch were installed beside this program: frames of this package would not help users.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Final, NamedTuple


class InstalledFrame(NamedTuple):
    """One frame: a file below the folder of installed packages, and the line that it executes."""

    file: str
    line: int
    function: str
    source: str
    pointed: str = ""
    """The part of ``source`` that the traceback underlines."""


_START: Final = (
    InstalledFrame(
        "torch/distributed/elastic/multiprocessing/errors/__init__.py", 367, "wrapper",
        "return f(*args, **kwargs)", "f(*args, **kwargs)",
    ),
    InstalledFrame("torch/distributed/run.py", 1028, "main", "run(args)"),
    InstalledFrame("torch/distributed/run.py", 1019, "run", "elastic_launch("),
    InstalledFrame("torch/distributed/launcher/api.py", 194, "__call__", "return launch_agent(", "launch_agent("),
)  # fmt: skip
OF_FAILED_RANKS: Final = (
    *_START,
    InstalledFrame("torch/distributed/launcher/api.py", 383, "launch_agent", "raise ChildFailedError("),
)
"""Frames when ranks have failed."""
OF_A_SIGNAL: Final = (
    *_START,
    InstalledFrame("torch/distributed/launcher/api.py", 374, "launch_agent", "result = agent.run()", "agent.run()"),
    InstalledFrame(
        "torch/distributed/elastic/metrics/api.py", 134, "wrapper", "result = f(*args, **kwargs)", "f(*args, **kwargs)"
    ),
    InstalledFrame(
        "torch/distributed/elastic/agent/server/api.py", 745, "run",
        "result = self._invoke_run(role)", "self._invoke_run(role)",
    ),
    InstalledFrame("torch/distributed/elastic/agent/server/api.py", 923, "_invoke_run", "time.sleep(monitor_interval)"),
    InstalledFrame(
        "torch/distributed/elastic/multiprocessing/api.py", 86, "_terminate_process_handler",
        'raise SignalException(f"Process {os.getpid()} got signal: {sigval}", sigval=sigval)',
    ),
)  # fmt: skip
"""Frames when the launcher got a signal."""


_MODULE: Final = (
    InstalledFrame("<frozen runpy>", 198, "_run_module_as_main", ""),
    InstalledFrame("<frozen runpy>", 88, "_run_code", ""),
    InstalledFrame("torch/distributed/run.py", 1032, "<module>", "main()"),
)


def traceback_text(frames: Iterable[InstalledFrame]) -> str:
    """Return the traceback from its header to its last frame; the exception follows."""
    import sysconfig  # only a launcher that fails needs the folder

    folder = sysconfig.get_path("purelib")
    return "Traceback (most recent call last):\n" + "".join(_text(frame, folder) for frame in (*_entry(), *frames))


def _entry() -> Iterable[InstalledFrame]:
    """The frame of the command that pip makes, or those of ``python -m``."""
    program = sys.argv[0] if sys.argv else ""
    if program.endswith(".py"):
        return _MODULE
    return (InstalledFrame(os.path.abspath(program), 6, "<module>", "sys.exit(main())", "main()"),)


def _text(frame: InstalledFrame, folder: str) -> str:
    file = frame.file if frame.file.startswith("<") else os.path.join(folder, frame.file)
    text = f'  File "{file}", line {frame.line}, in {frame.function}\n'
    if frame.source:
        text += f"    {frame.source}\n"
    if frame.pointed:
        text += f"    {' ' * frame.source.index(frame.pointed)}{'^' * len(frame.pointed)}\n"
    return text
