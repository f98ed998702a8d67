r"""The rows of a stream that redraws them: progress bars with ``\\r``, several bars with ``\\n`` and cursor-up codes.

``BarRows`` is a terminal of a few rows. A row that no bar comes back to becomes a line and leaves it at the top. Text
overwrites whole rows, not columns: of the frames that ``\\r`` redraws, the last one is all that remains.

tqdm draws the bar at position p as p newlines, ``\\r``, the bar and p times cursor-up. So a newline after a frame may
end a bar or lead to the next one. In a stream that has never moved up it ends the bar. If frames are shown while they
are unfinished (``live``), the row waits for the next data, because it is visible meanwhile.

If standard output and error of a rank are one stream (``shared``), text of the one may follow a frame of the other
(``frame_end``): then the text is a line of its own, and the frame stays.
"""

import re

from fake_torch_dist.launcher.output.frame_end import FrameEnd
from fake_torch_dist.launcher.output.row import Row, pieces_of, without_overwritten
from fake_torch_dist.terminal.edited_line import edited
from fake_torch_dist.terminal.escapes import CURSOR_CODE
from fake_torch_dist.terminal.live_protocol import split_update

_TOKEN = re.compile(rb"[\n\r]|" + CURSOR_CODE.pattern)
_BREAK = re.compile(rb"[\n\r]")
"""Matches what ``_TOKEN`` does in data without escape codes, several times as fast."""
_MAX_ROWS = 64
"""Most rows that are held, more than any bars need; a stray "cursor up 9999" must not hold back lines."""


class BarRows:
    """Rows of one stream, which begin with its unfinished line ``text``. ``live``: take out updates of live rows."""

    def __init__(self, text: bytearray, *, live: bool, shared: bool = False, max_line_bytes: int) -> None:
        self.newest: bytes | None = None
        """Frame that was completed last, as long as it has not become a line."""
        self.update: tuple[bytes, ...] | None = None
        """Rows of the newest update of the live rows; None if there was none."""
        self._frame_end = FrameEnd()
        self._beside = False
        """The cursor is below a frame that stays; text is no frame until the cursor goes back."""
        self._aside = bytearray()
        """Text of the unfinished line that is written there."""
        self._live = live
        self._shared = shared
        self._max_line_bytes = max_line_bytes
        self._rows = [Row(text)]
        self._cursor = 0
        self._height = 1
        """Number of rows that the stream has moved between."""
        self._after_newline = False
        self._framed: Row | None = None
        """Row of the last frame, unless the cursor has gone up since."""
        self._lines: list[bytes] = []

    def set_columns(self, columns: int) -> None:
        """Set the width of the terminal; 0 if there is none."""
        self._frame_end.add_width(columns)

    @property
    def unfinished(self) -> bytearray | None:
        """The unfinished line, if there is no frame and no other row, so that the stream can be read like any other."""
        row = self._rows[0]
        if len(self._rows) > 1 or self._height > 1 or row.redrawn or row.at_start or self._aside:
            return None
        return row.text

    @property
    def rows(self) -> tuple[bytes, ...]:
        """Frames as a terminal shows them now."""
        texts = [self._parts(row)[0] for row in self._rows if (row.redrawn or row.at_start) and not row.blank]
        return tuple(bytes(text) for text in texts)

    @property
    def begun(self) -> bytes:
        """The unfinished line that follows a frame; empty if there is none."""
        return bytes(self._aside) + self._parts(self._rows[self._cursor])[1]

    def feed(self, data: bytes) -> list[bytes]:
        """Return lines that ``data`` completed, without newlines. ``data`` does not end inside a control sequence."""
        if self._overwrites(data):
            data = without_overwritten(data)
        end = 0
        for found in (_TOKEN if b"\x1b" in data else _BREAK).finditer(data):
            if found.start() > end:
                self._write(data[end : found.start()])
            end = found.end()
            self._move(found)
        if end < len(data):
            self._write(data[end:])
        return self._take_lines()

    def _overwrites(self, data: bytes) -> bool:
        """True if frames in the middle of ``data`` have no effect: there is one row, and no code but ``\\r`` moves."""
        if self._live or self._shared or self._beside or self._aside or b"\x1b" in data:
            return False
        return len(self._rows) == self._height == 1 and len(self._rows[0].text) + len(data) <= self._max_line_bytes

    def close(self) -> list[bytes]:
        """Return what is left, as lines."""
        self._release(len(self._rows) - 1)
        if self._rows[0].text:
            self._finish(self._rows[0])
        if self._aside:
            self._lines.append(bytes(self._aside))
        self._rows, self._aside, self._beside = [Row()], bytearray(), False
        return self._take_lines()

    def take_newest(self) -> bytes:
        """Return the newest frame, once."""
        newest, self.newest = self.newest, None
        return newest or b""

    def _take_lines(self) -> list[bytes]:
        lines, self._lines = self._lines, []
        return lines

    def _move(self, found: re.Match[bytes]) -> None:
        if found[0] == b"\n":
            self._newline()
            return
        if found[0] != b"\r" and found[2] == b"C":
            self._right(found)
            return
        self._after_newline = self._beside = False
        row = self._rows[self._cursor]
        if found[0] == b"\r":
            self._complete(row)
            row.at_start = True
            return
        count, code = int(found[1] or 1), found[2]
        if code in b"AF":
            self._complete(row)
            self._up(count)
        elif code in b"BE":
            self._down(count)
        if code in b"EF":
            row = self._rows[self._cursor]
            row.at_start = bool(row.text)
        elif code in b"JK":
            self._erase(row, code, whole=found[1] == b"2")

    def _erase(self, row: Row, code: bytes, *, whole: bool) -> None:
        if code == b"J":
            del self._rows[self._cursor + 1 :]
        if row.at_start or whole:
            row.erase()
        elif code == b"K":
            row.text = bytearray(edited(bytes(row.text))[0])

    def _right(self, found: re.Match[bytes]) -> None:
        """Move the cursor right, as an editor of a line does: the line does not begin again."""
        row = self._rows[self._cursor]
        if row.at_start:
            row.text += b"\x1b[G"
            row.at_start = False
        row.text += found[0]

    def _complete(self, row: Row) -> None:
        self._take_aside(row)
        if not row.blank:
            self.newest = self._frame_end.last_frame = bytes(row.text)

    def _take_aside(self, row: Row) -> bool:
        """Take the text that follows a frame out of the row. Returns whether there is any."""
        frame, text = self._parts(row)
        if text:
            row.text = bytearray(frame)
            self._aside += text
        return bool(text)

    def _parts(self, row: Row) -> tuple[bytes | bytearray, bytes]:
        """Return the frame in a row, and the text that follows it."""
        if not self._shared or not row.redrawn or row.at_start:
            return row.text, b""
        frame, text = self._frame_end.divide(bytes(row.text))
        return (frame, text) if text.strip() else (row.text, b"")

    def _up(self, count: int) -> None:
        # Rows that have become lines are blank when a bar comes back to them.
        for _ in range(min(count - self._cursor, _MAX_ROWS - len(self._rows))):
            self._rows.insert(0, Row(redrawn=True))
            self._cursor += 1
        self._cursor = max(self._cursor - count, 0)
        self._height = max(self._height, len(self._rows))
        self._framed = None

    def _down(self, count: int) -> None:
        self._cursor = min(self._cursor + count, len(self._rows) - 1)

    def _newline(self) -> None:
        row = self._rows[self._cursor]
        if self._live and self._take_update(row):
            return
        if self._beside or self._take_aside(row):
            self._lines.append(bytes(self._aside))
            self._aside, self._beside = bytearray(), True
            self._frame_end.last_frame = bytes(row.text)
            return
        self._cursor += 1
        if self._cursor == len(self._rows):
            self._rows.append(Row())
        row = self._rows[self._cursor]
        row.at_start = bool(row.text)
        self._after_newline = True
        while self._cursor and not self._rows[0].redrawn:
            self._release(1)
        self._release(self._cursor + 1 - max(self._height, 2 if self._live else 1))

    def _take_update(self, row: Row) -> bool:
        """Take an update of the live rows off the end of a row. Returns whether there is one.

        Text before it is a line that goes on.
        """
        if (found := split_update(row.text)) is None:
            return False
        row.text, self.update = bytearray(found[0]), found[1]
        return True

    def _write(self, text: bytes) -> None:
        if self._beside:
            self._aside += text
            return
        if self._after_newline and self._cursor:  # no bar continues so: the rows above have ended
            self._release(self._cursor)
            del self._rows[1:]
            self._height = 1
        self._after_newline = False
        row = self._rows[self._cursor]
        if row.at_start:
            if row is self._framed:  # a bar at another position would have moved up before
                self._release(self._cursor)
            self._framed = row
            row.erase()
        row.text += text
        if len(row.text) > self._max_line_bytes:
            *pieces, rest = pieces_of(bytes(row.text), self._max_line_bytes)
            self._lines += pieces
            row.text = bytearray(rest)

    def _release(self, count: int) -> None:
        """Make lines of the uppermost rows."""
        for _ in range(count):
            self._finish(self._rows.pop(0))
            self._cursor = max(self._cursor - 1, 0)

    def _finish(self, row: Row) -> None:
        self.newest = None
        if not (row.redrawn and row.blank):  # else a bar that has erased itself
            self._lines.append(bytes(row.text))
