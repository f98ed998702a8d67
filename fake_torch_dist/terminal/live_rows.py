"""Draws live rows at the bottom of a terminal, with lines that scroll above them. Computes bytes and writes nothing.

The cursor stays at the beginning of the first live row. So after a resize or output of a shell below, the next frame
starts in the right place and overwrites it.

A line that has begun, such as a prompt, is above the live rows, and the cursor stays at its end: there the terminal
shows what is typed. The line is written once and goes on at the cursor, even if that is one row below because Enter was
pressed. Only lines of other streams are written over it; then it is shown again below them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from fake_torch_dist.terminal.edited_line import edited, finished
from fake_torch_dist.terminal.escapes import RESET, clipped, left_open, only_colors, place_after
from fake_torch_dist.terminal.frame import (
    BEGIN_FRAME,
    CLEARED,
    END_FRAME,
    ERASE_BELOW,
    ERASE_TO_RIGHT,
    cursor_up,
    drawn,
)

SAVE_CURSOR, RESTORE_CURSOR = b"\x1b7", b"\x1b8"
INDEX = b"\x1bD"
"""Moves down a row, in the same column; at the bottom the screen scrolls."""


@dataclass(frozen=True, slots=True)
class _Line:
    """A line that has begun, as the terminal shows it."""

    before: bytes
    """Text before the cursor."""
    after: bytes

    @property
    def text(self) -> bytes:
        return self.before + self.after


_NO_LINE = _Line(b"", b"")


class LiveTerminal:
    """``size`` returns columns and rows. All that goes to the terminal goes through ``frame``."""

    def __init__(self, size: Callable[[], tuple[int, int]]) -> None:
        self._size = size
        self._shown: dict[str, Sequence[bytes]] = {}
        self.begun: dict[Hashable, bytes] = {}
        """Lines that have begun, by stream; the cursor is at the end of the last one."""
        self._drawn_line = _NO_LINE
        self._drawn_rows = 0
        self._drawn_size = size()
        self._dirty = False
        self.is_shared = False
        """Another process draws below the lines, too, and keeps the cursor at the beginning of that."""

    def show(self, source: str, rows: Sequence[bytes]) -> None:
        """Set the live rows of ``source``; sources are in the order in which they first had some."""
        if (rows or source in self._shown) and self._shown.get(source) != rows:
            self._shown[source] = rows
            self._dirty = True

    def begin(self, key: Hashable, line: bytes) -> None:
        """Show ``line``, which has begun; an empty one is complete, or became a frame of a bar, and is not shown."""
        if self.begun.get(key, b"") != line:
            self._dirty = True
            if line:
                self.begun[key] = line
            else:
                del self.begun[key]

    @property
    def at_cursor(self) -> Hashable | None:
        """Stream of the line that the cursor is at the end of; None if there is none."""
        return next(reversed(self.begun), None)

    def frame(self, lines: bytes) -> bytes:
        """Return the bytes that show whole ``lines``, and what has changed below them since the last frame."""
        if not lines and not self._dirty:
            return b""
        size = self._size()
        rows = self._live_rows(*size)
        lines = only_colors(finished(lines))
        if self.is_shared:
            lines = lines.replace(b"\n", ERASE_TO_RIGHT + b"\n")
        if self.begun or self._drawn_line.text:
            return self._frame_around_cursor(lines, rows, size)
        if not rows and not self._drawn_rows:
            self._dirty = False
            return lines
        over = self._over_rows(lines, size[0]) if lines else b""
        frame = drawn(over, rows, erase_first=size != self._drawn_size)
        self._drawn_rows, self._drawn_size, self._dirty = len(rows), size, False
        return frame

    def _frame_around_cursor(self, lines: bytes, rows: list[bytes], size: tuple[int, int]) -> bytes:
        """Return the frame if a line has begun, or had in the last frame."""
        columns = size[0]
        line = _Line(*map(only_colors, edited(next(reversed(self.begun.values()), b"").expandtabs())))
        before = self._drawn_line
        text = lines + line.text
        anew = bool(before.after or line.after) or not text.startswith(before.text)
        if anew:
            written = [cursor_up(place_after(before.before, columns)[0]), CLEARED, text]
        else:
            written = [left_open(before.text), text[len(before.text) :]]
        if not anew and text == before.text and 0 < len(rows) <= self._drawn_rows:
            written = self._below_cursor_kept(rows)
        else:
            if written[-1] and line.text:
                written.append(RESET if left_open(line.text) else b"")
                if place_after(line.text, columns)[1] == 0:
                    written.append(b" \r")  # terminals differ in where the cursor is after the last column
            if self._drawn_rows:
                written.insert(0, ERASE_BELOW)
            written += self._rows_and_back(line, rows, columns)
        if rows or self._drawn_rows:
            written = [BEGIN_FRAME, *written, END_FRAME]
        self._drawn_line, self._drawn_rows, self._drawn_size, self._dirty = line, len(rows), size, False
        return b"".join(written)

    def _below_cursor_kept(self, rows: list[bytes]) -> list[bytes]:
        """Return the rows without moving the cursor, which may be after text that is being typed."""
        return [SAVE_CURSOR, *(b"\r\n" + row + ERASE_TO_RIGHT for row in rows), ERASE_BELOW, RESTORE_CURSOR]

    def _rows_and_back(self, line: _Line, rows: list[bytes], columns: int) -> list[bytes]:
        """Return the rows after the end of ``line``, and the way back to its cursor."""
        if rows and line.text and not line.after:
            # The terminal may have echoed what was typed, with its newline, so the position of the cursor is not known
            # here. The screen scrolls before that place is saved.
            room = [INDEX * len(rows), cursor_up(len(rows))]
            return [*room, SAVE_CURSOR, b"\r\n", b"\r\n".join(rows), RESTORE_CURSOR]
        row, column = place_after(line.before, columns)
        pieces, up = [], place_after(line.text, columns)[0] - row
        if rows:
            pieces = [b"\r\n" if line.text else b"\r", b"\r\n".join(rows)]
            up += len(rows) if line.text else len(rows) - 1
        if rows or line.after:
            pieces += [b"\r", cursor_up(up), _right(column)]
        return pieces

    def clear(self) -> bytes:
        """Return the bytes that erase the live rows until ``redraw``. A line that has begun stays, for the shell."""
        return ERASE_BELOW if self._drawn_rows and not self._drawn_line.text else b""

    def redraw(self, *, resized: bool = True) -> bytes:
        """Return a frame with the live rows drawn again, after a resize or after a shell has written below.

        Unless ``resized``, a line that has begun is shown again, too.
        """
        if self.is_shared:
            return ERASE_BELOW if not resized else b""
        self._dirty = self._drawn_rows > 0
        if self.begun and not resized:
            self._dirty, self._drawn_line = True, _NO_LINE
        self._drawn_size = (0, 0)
        return self.frame(b"")

    def close(self) -> bytes:
        """Return the bytes that remove the live rows and leave the cursor at the beginning of a fresh line."""
        self._shown.clear()
        self.begun.clear()
        if self._drawn_line.text:
            return self.frame(self._drawn_line.text + b"\n")
        self._dirty = self._drawn_rows > 0
        return self.frame(b"")

    def _live_rows(self, columns: int, rows: int) -> list[bytes]:
        texts = [*self.begun.values()][:-1]
        texts += [text for source in self._shown.values() for text in source]
        # A row never fills the last column, after which terminals differ in where the cursor is.
        return [clipped(b"".join(edited(text)), columns - 1) for text in texts[-max(rows - 1, 1) :]]

    def _over_rows(self, lines: bytes, columns: int) -> bytes:
        """Return lines that leave nothing of the live rows they are written over.

        The rest of a row is erased after its text, so nothing blinks. Before a line that may reach the last column,
        everything is erased, since terminals differ in where the cursor is then. Tabs skip columns, so they count, too.
        """
        *first, others = lines.split(b"\n", self._drawn_rows)
        over = [
            ERASE_BELOW + line if len(line) >= columns or b"\t" in line else line + ERASE_TO_RIGHT for line in first
        ]
        return b"".join([*(line + b"\r\n" for line in over), others])


def _right(columns: int) -> bytes:
    return b"\x1b[%dC" % columns if columns else b""
