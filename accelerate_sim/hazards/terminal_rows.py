"""``TerminalRows``: the rows of characters that bytes leave on a terminal, for a screen that draws bars of its own.

Hazards give bytes with carriage returns, cursor movements and halves of characters. A terminal that draws bars at its
bottom cannot take them as they are, or the bars would be drawn in wrong places. Here they pass a small model of a
terminal: what it leaves of each row is shown above the bars. Colours and hyperlinks stay in the rows.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from unicodedata import east_asian_width

PIECES = re.compile(
    r"\x1b\[[0-9;]*m|\x1b\]8;[^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x1f\x7f]|[^\x00-\x1f\x7f]+"
)
"""Colours, hyperlinks, other sequences, control characters, and text."""
TAB = 8
FIRST_WIDE = 0x1100
"""Characters before this one take one column."""


class TerminalRows:
    """Takes bytes and gives rows that no longer change; what stands at the cursor and below it is kept."""

    def __init__(self, width: Callable[[], int], encoding: str = "utf-8") -> None:
        """``width``: columns of the terminal; rows end one column before, where terminals differ in what comes next."""
        self._width = width
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")
        self._rows: list[list[str]] = [[]]
        """Cells of the rows that may still change; a cell is a character and the sequences around it."""
        self._row = self._column = 0
        self._sequences = ""
        """Colours and hyperlinks before the next character."""

    def feed(self, data: bytes) -> list[str]:
        """Show the bytes. Returns the rows above the cursor."""
        for piece in PIECES.findall(self._decoder.decode(data)):
            self._show(piece)
        done, self._rows = self._rows[: self._row], self._rows[self._row :]
        self._row = 0
        return ["".join(row).rstrip(" ") for row in done]

    def close(self) -> list[str]:
        """Return what is left, as at the end of the output."""
        rows = [*self.feed(b""), *("".join(row).rstrip(" ") for row in self._rows)]
        if rows and self._sequences:
            rows[-1] += self._sequences
        self._rows, self._row, self._column, self._sequences = [[]], 0, 0, ""
        while rows and not rows[-1]:
            rows.pop()
        return rows

    def _show(self, piece: str) -> None:
        if piece >= " " and piece[0] != "\x7f":
            self._put(piece)
        elif piece[0] == "\x1b":
            if piece[-1] == "A":
                self._row = max(self._row - 1, 0)
            elif piece[-1] == "m" or piece[1:2] == "]":
                self._mark(piece)
        elif piece == "\r":
            self._column = 0
        elif piece == "\n":
            self._next_row()
        elif piece == "\t":
            self._column = min(self._column // TAB * TAB + TAB, max(self._width() - 2, 0))

    def _next_row(self) -> None:
        self._row, self._column = self._row + 1, 0
        if self._row == len(self._rows):
            self._rows.append([])

    def _mark(self, sequence: str) -> None:
        """Keep a colour or a hyperlink: with the character before it if the row ends there, else before the next."""
        row = self._rows[self._row]
        if row and self._column == len(row):
            row[-1] += sequence
        else:
            self._sequences += sequence

    def _put(self, text: str) -> None:
        """Write characters over those that stand in the row, and go on in the next row at the end of the screen."""
        room = max(self._width() - 1, 1)
        cells = list(text) if text.isascii() else [cell for character in text for cell in _cells(character)]
        begin = 0
        while begin < len(cells):
            if self._column >= room:
                self._next_row()
            part = cells[begin : begin + room - self._column]
            begin += len(part)
            if self._sequences:
                part[0], self._sequences = self._sequences + part[0], ""
            row = self._rows[self._row]
            row.extend(" " * (self._column - len(row)))
            row[self._column : self._column + len(part)] = part
            self._column += len(part)


def _cells(character: str) -> tuple[str, ...]:
    """The cells of a character: an empty one follows a character of two columns."""
    if ord(character) < FIRST_WIDE or east_asian_width(character) not in "WF":
        return (character,)
    return (character, "")
