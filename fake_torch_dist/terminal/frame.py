"""Frames of live rows: lines that scroll, drawn over the rows of the last frame, and the new rows below them.

For the launcher, and for a process that has the terminal to itself. This module imports little, since every process of
a run loads it.
"""

from __future__ import annotations

from collections.abc import Sequence

BEGIN_FRAME, END_FRAME = b"\x1b[?2026h", b"\x1b[?2026l"
"""Begin and end of a synchronized update: terminals that support it show a frame at once, others ignore it."""
ERASE_TO_RIGHT, ERASE_BELOW = b"\x1b[K", b"\x1b[J"
CLEARED = b"\r" + ERASE_BELOW
"""Removes the live rows."""


def drawn(lines: bytes, rows: Sequence[bytes], *, erase_first: bool) -> bytes:
    """Return a frame: ``lines`` over the rows of the last frame, ``rows`` below, the cursor on the first of these.

    ``lines`` end with their own carriage returns and erase what they do not overwrite. ``erase_first`` is needed after
    a resize, when old rows may have wrapped anywhere below the cursor.
    """
    pieces = [CLEARED if erase_first else b"\r", lines, (ERASE_TO_RIGHT + b"\r\n").join(rows), ERASE_BELOW]
    if rows:
        pieces += [b"\r", cursor_up(len(rows) - 1)]
    if lines:
        pieces = [BEGIN_FRAME, *pieces, END_FRAME]
    return b"".join(pieces)


def erased_after(lines: Sequence[bytes]) -> bytes:
    """Return lines for ``drawn`` that erase the rest of their rows after their text, so that nothing blinks."""
    return b"".join(line + ERASE_TO_RIGHT + b"\r\n" for line in lines)


def cursor_up(rows: int) -> bytes:
    """Return the code that moves the cursor up; nothing for 0 rows."""
    return b"\x1b[%dA" % rows if rows else b""
