"""Terminals behind descriptors: how big they are, writing to them without ever waiting, text that they only show.

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


def set_size(fd: int, columns: int, rows: int) -> None:
    """Of a terminal, as ``size_of`` finds it. Raises OSError."""
    import fcntl  # not on every platform
    import struct
    import termios

    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))


def printable(text: object) -> str:
    """``str(text)`` on one line: everything is escaped that is not a plain visible character."""
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in shown)


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
