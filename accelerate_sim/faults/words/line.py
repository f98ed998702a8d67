"""The line type of all words: a text, the stream that it belongs to, and its delay."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

STDOUT: Final = "stdout"
STDERR: Final = "stderr"
KERNEL: Final = "kernel"


class TimedLine(NamedTuple):
    """One line that a program prints some time after a fault has struck."""

    after_s: float
    """Simulated seconds between the strike and the line."""

    stream: str
    """``stdout``, ``stderr``, ``kernel``, or the name of a file."""

    text: str
    """The line without a line end. A kernel line is without its time, host and ``kernel:`` as well."""


def block(after_s: float, stream: str, text: str) -> list[TimedLine]:
    """The lines of a text of several lines, all at the same time."""
    return [TimedLine(after_s, stream, line) for line in text.split("\n")]


def later(lines: Iterable[TimedLine], delay_s: float) -> list[TimedLine]:
    """The same lines, each ``delay_s`` seconds later."""
    return [line._replace(after_s=line.after_s + delay_s) for line in lines]


def prefixed(lines: Iterable[TimedLine], prefix: str) -> list[TimedLine]:
    """The same lines with a prefix, as torch marks a traceback with ``[rank3]: ``."""
    return [line._replace(text=prefix + line.text) for line in lines]
