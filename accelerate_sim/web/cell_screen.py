"""``CellScreen``: the cells of a terminal after some of our own frames, for pictures.

It knows the codes that the frames of a run have: new lines, cursor up, erasing, and text attributes.
"""

from __future__ import annotations

import re
from typing import NamedTuple

CODE = re.compile(r"\x1b\[(\??)([\d;]*)([A-Za-z])|\r|\n|[^\x1b\r\n]+")


class Cell(NamedTuple):
    """A character and its attributes: SGR numbers, in ascending order."""

    text: str = " "
    attributes: tuple[int, ...] = ()


BLANK = Cell()


class CellScreen:
    """A screen of cells, which scrolls."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.cells = [[BLANK] * columns for _ in range(rows)]
        self._x = self._y = 0
        self._attributes: tuple[int, ...] = ()

    def feed(self, text: str) -> None:
        """Draw ``text``."""
        for code in CODE.finditer(text):
            if code[0] == "\r":
                self._x = 0
            elif code[0] == "\n":
                self._down()
            elif code[3]:
                if not code[1]:
                    self._obey(code[3], code[2])
            else:
                self._print(code[0])

    def _print(self, text: str) -> None:
        for character in text:
            if self._x == self.columns:
                self._x = 0
                self._down()
            self.cells[self._y][self._x] = Cell(character, self._attributes)
            self._x += 1

    def _down(self) -> None:
        self._y += 1
        if self._y == self.rows:
            self.cells = [*self.cells[1:], [BLANK] * self.columns]
            self._y -= 1

    def _obey(self, command: str, argument: str) -> None:
        if command == "A":
            self._y = max(self._y - int(argument or 1), 0)
        elif command in "KJ":
            self.cells[self._y][self._x :] = [BLANK] * (self.columns - self._x)
            if command == "J":
                self.cells[self._y + 1 :] = [[BLANK] * self.columns for _ in range(self.rows - self._y - 1)]
        elif command == "m":
            for number in map(int, argument.split(";") if argument else ["0"]):
                self._attributes = tuple(sorted({*self._attributes, number})) if number else ()
