"""Descriptors of terminals: their size, writes that never wait, complete writes, and text that is safe to show.

For the launcher, and for programs that draw on the same terminals.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

NOTEBOOK_KERNEL = "JPY_PARENT_PID"
"""Variable that Jupyter sets for its kernels; their cells run programs (``!python train.py``) on a pty."""
_COLUMNS, _ROWS = 80, 24
"""Size of a terminal that does not report its own, as curses and shells assume."""


def size_of(fd: int) -> tuple[int, int]:
    """Return columns and rows of a terminal: its own, or else COLUMNS and LINES, or else 80 and 24."""
    try:
        columns, rows = os.get_terminal_size(fd)
    except (OSError, ValueError):
        columns, rows = 0, 0
    return columns or count_in_environment("COLUMNS") or _COLUMNS, rows or count_in_environment("LINES") or _ROWS


def moves_cursor(environment: Mapping[str, str]) -> bool:
    """Return whether a terminal that this environment describes can be drawn on: TERM=dumb and a cell cannot."""
    return environment.get("TERM") != "dumb" and NOTEBOOK_KERNEL not in environment


def count_in_environment(name: str) -> int:
    """Return the whole number that a variable holds; 0 if it holds none."""
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else 0


def set_size(fd: int, columns: int, rows: int) -> None:
    """Set the size of a terminal, which ``size_of`` returns later. Raises OSError."""
    import fcntl  # not on every platform
    import struct
    import termios

    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))


def printable(text: object) -> str:
    """Return ``str(text)`` on one line, with escapes for all that is not a plain visible character."""
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in shown)


def without_blocking(fd: int) -> int:
    """Return a descriptor of the same terminal or pipe to which a write never waits, or ``fd`` if there can be none.

    A signal does not end a write that waits for its reader. Making ``fd`` itself non-blocking would change it for every
    process that shares it, such as the shell.
    """
    try:
        if stat.S_ISFIFO(os.fstat(fd).st_mode) or os.isatty(fd):
            return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        pass
    return fd


def write_all(fd: int, data: bytes | memoryview, at: int | None = None) -> None:
    """Write all of ``data``, in as many pieces as the system takes. Raises OSError, with a part written.

    ``at``: offset in a file; None: where the descriptor stands.
    """
    rest = memoryview(data)
    while rest:
        written = os.write(fd, rest) if at is None else os.pwrite(fd, rest, at + len(data) - len(rest))
        rest = rest[written:]
