"""Live rows at the bottom of a terminal, everybody's lines above them. Computes bytes; writing them is another's work.

As on the screen of a single process (accelerate_sim/display/screen.py): the cursor rests at the beginning of the first
live row, so whatever a resize or a shell does below, the next frame starts in the right place and overwrites it.

A line that has begun, such as a prompt, stands above the live rows, and the cursor rests at its end: there the terminal
shows what is typed. It is written once and goes on where the cursor is, even if that is the row below because somebody
has pressed Enter; only lines of others are written over it, and then it is shown again below them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from fake_torch_dist.terminal.edited_line import edited, finished
from fake_torch_dist.terminal.escapes import RESET, clipped, left_open, only_colors, place_after

BEGIN_FRAME, END_FRAME = b"\x1b[?2026h", b"\x1b[?2026l"
"""Show what is between at once, even if it arrives in pieces. Terminals that can't do that ignore it."""
SAVE_CURSOR, RESTORE_CURSOR = b"\x1b7", b"\x1b8"
ERASE_TO_RIGHT, ERASE_BELOW = b"\x1b[K", b"\x1b[J"


@dataclass(frozen=True, slots=True)
class _Line:
    """One that has begun, as it stands on the terminal."""

    before: bytes
    """What is before the cursor."""
    after: bytes

    @property
    def text(self) -> bytes:
        return self.before + self.after


_NO_LINE = _Line(b"", b"")


class LiveTerminal:
    """``size`` gives columns and rows. All that goes to the terminal goes through ``frame``."""

    def __init__(self, size: Callable[[], tuple[int, int]]) -> None:
        self._size = size
        self._shown: dict[str, Sequence[bytes]] = {}
        self.begun: dict[Hashable, bytes] = {}
        """Lines that have begun, by who writes them; the cursor is at the end of the last one."""
        self._drawn_line = _NO_LINE
        self._drawn_rows = 0
        self._drawn_size = size()
        self._dirty = False
        self.is_shared = False
        """Somebody else draws below the lines, too, with the cursor at the beginning of that."""

    def show(self, source: str, rows: Sequence[bytes]) -> None:
        """The live rows of ``source`` from now on; sources stand in the order in which they first had some."""
        if (rows or source in self._shown) and self._shown.get(source) != rows:
            self._shown[source] = rows
            self._dirty = True

    def begin(self, key: Hashable, line: bytes) -> None:
        """``line`` has begun and is to be shown from now on; nothing if it is complete, or another frame of a bar."""
        if self.begun.get(key, b"") != line:
            self._dirty = True
            if line:
                self.begun[key] = line
            else:
                del self.begun[key]

    @property
    def at_cursor(self) -> Hashable | None:
        """Whose line the cursor is at the end of."""
        return next(reversed(self.begun), None)

    def frame(self, lines: bytes) -> bytes:
        """What to write for whole ``lines`` and what has changed below them since the last frame."""
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
        # After a resize old rows may have wrapped anywhere below the cursor.
        pieces = [b"\r" if size == self._drawn_size else b"\r" + ERASE_BELOW]
        if lines:
            pieces = [BEGIN_FRAME, *pieces, self._over_rows(lines, size[0])]
        pieces.append((ERASE_TO_RIGHT + b"\r\n").join(rows) + ERASE_BELOW)
        if rows:
            pieces.append(b"\r" + (b"\x1b[%dA" % (len(rows) - 1) if len(rows) > 1 else b""))
        if lines:
            pieces.append(END_FRAME)
        self._drawn_rows, self._drawn_size, self._dirty = len(rows), size, False
        return b"".join(pieces)

    def _frame_around_cursor(self, lines: bytes, rows: list[bytes], size: tuple[int, int]) -> bytes:
        """The same if a line has begun, or had in the last frame."""
        columns = size[0]
        line = _Line(*map(only_colors, edited(next(reversed(self.begun.values()), b"").expandtabs())))
        before = self._drawn_line
        text = lines + line.text
        anew = bool(before.after or line.after) or not text.startswith(before.text)
        if anew:
            written = [_up(place_after(before.before, columns)[0]), b"\r" + ERASE_BELOW, text]
        else:
            written = [left_open(before.text), text[len(before.text) :]]
        if not anew and text == before.text and 0 < len(rows) <= self._drawn_rows:
            written = self._below_cursor_kept(rows)
        else:
            if written[-1] and line.text:
                written.append(RESET if left_open(line.text) else b"")
                if (
                    place_after(line.text, columns)[1] == 0
                ):  # terminals differ in where the cursor is after the last column
                    written.append(b" \r")
            if self._drawn_rows:
                written.insert(0, ERASE_BELOW)
            written += self._rows_and_back(line, rows, columns)
        if rows or self._drawn_rows:
            written = [BEGIN_FRAME, *written, END_FRAME]
        self._drawn_line, self._drawn_rows, self._drawn_size, self._dirty = line, len(rows), size, False
        return b"".join(written)

    def _below_cursor_kept(self, rows: list[bytes]) -> list[bytes]:
        """Draw the rows where there is room already: the cursor may be after what somebody types, and stays there."""
        return [SAVE_CURSOR, *(b"\r\n" + row + ERASE_TO_RIGHT for row in rows), ERASE_BELOW, RESTORE_CURSOR]

    def _rows_and_back(self, line: _Line, rows: list[bytes], columns: int) -> list[bytes]:
        """Draw the rows after the end of ``line``, and go to its cursor."""
        row, column = place_after(line.before, columns)
        pieces, up = [], place_after(line.text, columns)[0] - row
        if rows:
            pieces = [b"\r\n" if line.text else b"\r", b"\r\n".join(rows)]
            up += len(rows) if line.text else len(rows) - 1
        if rows or line.after:
            pieces += [b"\r", _up(up), _right(column)]
        return pieces

    def redraw(self, *, resized: bool = True) -> bytes:
        """The live rows anew, as after a resize. Not ``resized``: as when a shell has written below; then a line that
        has begun is shown again, too.
        """
        if self.is_shared:
            return ERASE_BELOW if not resized else b""
        self._dirty = self._drawn_rows > 0
        if self.begun and not resized:
            self._dirty, self._drawn_line = True, _NO_LINE
        self._drawn_size = (0, 0)
        return self.frame(b"")

    def close(self) -> bytes:
        """Take the live rows away; the cursor is then at the beginning of a fresh line."""
        self._shown.clear()
        self.begun.clear()
        if self._drawn_line.text:
            return self.frame(self._drawn_line.text + b"\n")
        self._dirty = self._drawn_rows > 0
        return self.frame(b"")

    def _live_rows(self, columns: int, rows: int) -> list[bytes]:
        texts = [*self.begun.values()][:-1]
        texts += [text for source in self._shown.values() for text in source]
        # A row never fills the last column: terminals differ in where the cursor is then.
        return [clipped(b"".join(edited(text)), columns - 1) for text in texts[-max(rows - 1, 1) :]]

    def _over_rows(self, lines: bytes, columns: int) -> bytes:
        """Lines that leave nothing of the live rows they are written over.

        The rest of a row is erased after its text, so nothing is ever blank in between; but below a line that may reach
        the last column, everything is erased before it: where the cursor is then, terminals don't agree. Tabs skip.
        """
        *first, others = lines.split(b"\n", self._drawn_rows)
        over = [
            ERASE_BELOW + line if len(line) >= columns or b"\t" in line else line + ERASE_TO_RIGHT for line in first
        ]
        return b"".join([*(line + b"\r\n" for line in over), others])


def _up(rows: int) -> bytes:
    return b"\x1b[%dA" % rows if rows else b""


def _right(columns: int) -> bytes:
    return b"\x1b[%dC" % columns if columns else b""
