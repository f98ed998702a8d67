"""Interprets a line that is edited while it is written: the codes that readline sends for typing and editing."""

from __future__ import annotations

import re
from typing import Final

from fake_torch_dist.terminal.width import columns

_EDITS: Final = re.compile(rb"\x08|\x1b\[\d*[CDGKPX@]")
_PIECE: Final = re.compile(
    r"""
    \x1b\[ (\d{0,4}) ([CDGKPX@])
    | (\x08)
    | ( \x1b\[ [0-?]* [\ -/]* [@-~] | \x1b\] [^\x07\x1b]* (?:\x07|\x1b\\) | \x1b.? | [\x00-\x08\x0a-\x1f\x7f-\x9f] )
    | (.)
    """,
    re.DOTALL | re.VERBOSE,
)
_MOST_COLUMNS: Final = 4096
"""Rightmost column of the cursor."""


def finished(lines: bytes) -> bytes:
    """Return whole lines as they look after all edits."""
    if not _EDITS.search(lines):
        return lines
    return b"\n".join(b"".join(edited(line)) for line in lines.split(b"\n"))


def edited(line: bytes) -> tuple[bytes, bytes]:
    """Return the line as it looks after all edits, in two parts: before and after the cursor."""
    if not _EDITS.search(line):
        return line, b""
    row = _Row()
    for piece in _PIECE.finditer(line.decode("utf-8", "surrogateescape")):
        count, code, backspace, control, character = piece.groups()
        if code:
            row.edit(code, int(count) if count else None)
        elif backspace:
            row.edit("D", 1)
        elif control:
            row.pending += control
        else:
            row.write(character)
    row.reach(row.cursor)
    before, after = "".join(row.cells[: row.cursor]) + row.pending, "".join(row.cells[row.cursor :])
    return before.encode("utf-8", "surrogateescape"), after.encode("utf-8", "surrogateescape")


class _Row:
    """A row of cells, one per column; the second cell of a wide character is empty."""

    def __init__(self) -> None:
        self.cells: list[str] = []
        self.cursor = 0
        self.pending = ""
        """Controls such as colours, which are kept with the next character."""

    def write(self, character: str) -> None:
        width = columns(character)
        if not width:
            self.pending += character
            return
        self.reach(self.cursor)
        self.cells[self.cursor : self.cursor + width] = [self.pending + character, *[""] * (width - 1)]
        self.cursor += width
        self.pending = ""

    def edit(self, code: str, count: int | None) -> None:
        number = min(1 if count is None else max(count, 1), _MOST_COLUMNS)
        match code:
            case "C":
                self.cursor = min(self.cursor + number, _MOST_COLUMNS)
            case "D":
                self.cursor = max(self.cursor - number, 0)
            case "G":
                self.cursor = number - 1
            case "P":
                del self.cells[self.cursor : self.cursor + number]
            case "@":
                self.reach(self.cursor)
                self.cells[self.cursor : self.cursor] = [" "] * number
            case "X":
                end = min(self.cursor + number, len(self.cells))
                self.cells[self.cursor : end] = [" "] * (end - self.cursor)
            case "K":
                self._erase(count or 0)

    def _erase(self, which: int) -> None:
        if which == 0:
            del self.cells[self.cursor :]
        else:
            end = len(self.cells) if which == 2 else min(self.cursor + 1, len(self.cells))
            self.cells[:end] = [" "] * end

    def reach(self, column: int) -> None:
        """Fill the row with blanks up to ``column``."""
        self.cells += [" "] * (column - len(self.cells))
