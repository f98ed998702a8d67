"""The width of characters on a terminal."""

from __future__ import annotations

import unicodedata
from functools import lru_cache


@lru_cache(maxsize=4096)
def columns(character: str) -> int:
    """Return the terminal columns of one character: East Asian wide ones take two, combining marks none."""
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
