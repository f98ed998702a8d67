"""``FaultMistake``: an error of the user in the words of a fault, with the way out."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST = 60
"""Characters of a user's text that a message repeats."""


class FaultMistake(Exception):
    """The words of a fault are wrong. ``reason`` is a sentence without its full stop, ``way_out`` a sentence."""

    def __init__(self, reason: str, way_out: str) -> None:
        super().__init__(f"{reason}. {way_out}")
        self.reason = reason
        self.way_out = way_out


def quoted(text: object) -> str:
    """The text in quotes, with control characters escaped, cut when long."""
    shown = ascii(str(text)[:LONGEST])[1:-1] if not str(text).isprintable() else str(text)
    return f"'{shown[: LONGEST - 3]}...'" if len(shown) > LONGEST else f"'{shown}'"


def guess(word: str, known: Iterable[str], otherwise: str) -> str:
    """``Did you mean 'kill'?`` if a known word is like this one, else the other sentence."""
    close = get_close_matches(word.lower()[:LONGEST], list(known), n=1, cutoff=0.55)
    return f"Did you mean '{close[0]}'?" if close else otherwise
