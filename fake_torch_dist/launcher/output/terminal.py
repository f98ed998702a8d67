"""Live rows at the bottom of a terminal, everybody's lines above them. Computes bytes; writing them is another's work.

As on the screen of a single process (accelerate_sim/display/screen.py): the cursor rests at the beginning of the first
live row, so whatever a resize or a shell does below, the next frame starts in the right place and overwrites it.
"""

from collections.abc import Callable, Sequence

from fake_torch_dist.launcher.output.escapes import clipped, only_colors

BEGIN_FRAME, END_FRAME = b"\x1b[?2026h", b"\x1b[?2026l"
"""Show what is between at once, even if it arrives in pieces. Terminals that can't do that ignore it."""
ERASE_TO_RIGHT, ERASE_BELOW = b"\x1b[K", b"\x1b[J"


class LiveTerminal:
    """``size`` gives columns and rows. All that goes to the terminal goes through ``frame``."""

    def __init__(self, size: Callable[[], tuple[int, int]]) -> None:
        self._size = size
        self._shown: dict[str, Sequence[bytes]] = {}
        self._drawn_rows = 0
        self._drawn_size = size()
        self._dirty = False

    def show(self, source: str, rows: Sequence[bytes]) -> None:
        """The live rows of ``source`` from now on; sources stand in the order in which they first had some."""
        if (rows or source in self._shown) and self._shown.get(source) != rows:
            self._shown[source] = rows
            self._dirty = True

    def frame(self, lines: bytes) -> bytes:
        """What to write for whole ``lines`` and what has changed in the live rows since the last frame."""
        if not lines and not self._dirty:
            return b""
        size = self._size()
        rows = self._live_rows(*size)
        lines = only_colors(lines)
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

    def redraw(self) -> bytes:
        """The live rows anew, as after a resize or when a shell has written below."""
        self._dirty = self._drawn_rows > 0
        self._drawn_size = (0, 0)
        return self.frame(b"")

    def close(self) -> bytes:
        """Take the live rows away; the cursor is then at the beginning of a fresh line."""
        self._shown.clear()
        self._dirty = self._drawn_rows > 0
        return self.frame(b"")

    def _live_rows(self, columns: int, rows: int) -> list[bytes]:
        texts = [text for source in self._shown.values() for text in source]
        # A row never fills the last column: terminals differ in where the cursor is then.
        return [clipped(text, columns - 1) for text in texts[-max(rows - 1, 1) :]]

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
