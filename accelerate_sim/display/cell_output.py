"""The output of a notebook's cell, and other streams that a program has put in the place of standard output.

A notebook's kernel shows what is written to ``sys.stdout``, and not always what is written to descriptor 1. Its cells
show lines and the return to the beginning of a line, but no cursor that moves up.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, TextIO

CELL_COLUMNS = 100
"""Columns of a bar in a cell."""
CELL_FRAME_S = 0.1
"""Shortest time between two frames of a cell, in real seconds, as a saved notebook keeps all of them."""
UNFOLDED = 100_000
"""Columns of a line that nothing folds."""


def replaced_stdout() -> TextIO | None:
    """``sys.stdout``, if that does not write to descriptor 1."""
    return _replaced(sys.stdout, sys.__stdout__, 1)


def replaced_stderr() -> TextIO | None:
    """``sys.stderr``, if that does not write to descriptor 2."""
    return _replaced(sys.stderr, sys.__stderr__, 2)


def _replaced(stream: TextIO | None, original: TextIO | None, fd: int) -> TextIO | None:
    if stream is original or stream is None:
        return None
    try:
        return None if stream.fileno() == fd else stream
    except (OSError, ValueError, AttributeError):
        return stream


def notebook_shell() -> Any | None:
    """IPython's shell, if this process is a notebook's kernel and ``sys.stdout`` leads to a cell; None elsewhere."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell if hasattr(shell, "kernel") and replaced_stdout() else None


class CellCanvas:
    """Encodes frames for a cell: lines, and below them the last live line, which is overwritten by the next frame."""

    def __init__(self) -> None:
        self._drawn = 0
        """Columns of the live line that is shown; 0: there is none."""

    def size(self) -> tuple[int, int]:
        return CELL_COLUMNS, 2

    def line_width(self) -> int:
        return UNFOLDED

    def frame(self, lines: Sequence[str], live: Sequence[str]) -> str:
        row = next((row for row in reversed(live) if row), "")
        text = "".join(f"{line}\n" for line in lines)
        if not text and row:
            erased, rest = "\r" if self._drawn else "", " " * (self._drawn - len(row))
        else:
            erased, rest = self.cleared(), ""
        self._drawn = len(row)
        return f"{erased}{text}{row}{rest}"

    def cleared(self) -> str:
        erased = f"\r{' ' * self._drawn}\r" if self._drawn else ""
        self._drawn = 0
        return erased

    def forget(self) -> None: ...

    def ended(self) -> str:
        return ""
