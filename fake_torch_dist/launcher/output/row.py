"""``Row``: one row that bars redraw, and what remains of data that redraws rows or is too long for one."""

from collections.abc import Sequence


class Row:
    """The text of a row, and whether it has been redrawn."""

    __slots__ = ("at_start", "redrawn", "text")

    def __init__(self, text: bytearray | None = None, *, redrawn: bool = False) -> None:
        self.text = bytearray() if text is None else text
        self.redrawn = redrawn
        self.at_start = False
        """The cursor is in the first column again: the next text replaces this one."""

    @property
    def blank(self) -> bool:
        return not self.text or self.text.isspace()

    def erase(self) -> None:
        self.text = bytearray()
        self.redrawn, self.at_start = True, False


def without_overwritten(data: bytes) -> bytes:
    """Return ``data`` without the frames of each row that a visible one and another one follow, as nothing remains."""
    lines = data.split(b"\n")
    for index, line in enumerate(lines):
        if line.count(b"\r") > 2:
            before, newest, last = line.rsplit(b"\r", 2)
            if newest and not newest.isspace():
                lines[index] = b"\r".join((before.partition(b"\r")[0], newest, last))
    return b"\n".join(lines)


def pieces_of(text: bytes, size_bytes: int) -> Sequence[bytes]:
    """Return ``text`` in pieces of ``size_bytes``; the last one may be shorter, but is not empty."""
    return [text[start : start + size_bytes] for start in range(0, max(len(text), 1), size_bytes)]
