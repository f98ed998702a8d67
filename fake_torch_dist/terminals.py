"""Terminals behind descriptors: how big they are, and writing to them without ever waiting.

For the launcher, and for programs that draw on the same terminals.
"""

from __future__ import annotations

import os
import stat

_COLUMNS, _ROWS = 80, 24
"""Of a terminal that does not say, as curses and shells assume."""


def size_of(fd: int) -> tuple[int, int]:
    """Columns and rows of a terminal; COLUMNS and LINES, or 80 and 24, for one that doesn't know."""
    try:
        columns, rows = os.get_terminal_size(fd)
    except (OSError, ValueError):
        columns, rows = 0, 0
    return columns or count_in_environment("COLUMNS") or _COLUMNS, rows or count_in_environment("LINES") or _ROWS


def count_in_environment(name: str) -> int:
    """A whole number that a variable holds; 0 if it holds none."""
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else 0


def without_blocking(fd: int) -> int:
    """A descriptor of the same terminal or pipe to which a write never waits, or ``fd`` if there can't be one.

    A signal does not end a write that waits for its reader. Making ``fd`` itself non-blocking would do so for everyone
    who has it, the shell for one.
    """
    try:
        if stat.S_ISFIFO(os.fstat(fd).st_mode) or os.isatty(fd):
            return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        pass
    return fd
