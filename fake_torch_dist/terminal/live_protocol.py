"""The escape sequence by which a rank sends its launcher the live rows for the bottom of the terminal.

An update is one line: it holds all live rows of the rank, and replaces those before. A terminal that gets one ignores
it, since it is an operating system command that no terminal has.
"""

from __future__ import annotations

from collections.abc import Sequence

BEGIN = b"\x1b]fake-torchrun;live;"
_ROW_SEPARATOR = b"\x1f"
_END = b"\x07"


def live_block(rows: Sequence[str]) -> str:
    """Return the line that makes ``rows`` the live rows; no rows remove them."""
    return f"{BEGIN.decode()}{_ROW_SEPARATOR.decode().join(rows)}{_END.decode()}\n"


def split_update(line: bytes | bytearray) -> tuple[bytes, tuple[bytes, ...]] | None:
    """Return the text before an update and its rows, if ``line`` ends with an update."""
    text, begin, block = bytes(line).partition(BEGIN) if line.endswith(_END) else (b"", b"", b"")
    if not begin:
        return None
    rows = block.removesuffix(_END)
    return text, tuple(rows.split(_ROW_SEPARATOR)) if rows else ()
