"""Folding of log lines that are wider than the screen, at the separators of their fields or at spaces."""

import re

from accelerate_sim.display.style import columns

CONTINUATION = 22
"""Columns by which folded lines are indented: below the rank, to the right of the time."""

_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def fold(line: str, width: int) -> list[str]:
    """Break a line that is wider than ``width - 1`` columns at " | " or at spaces, and indent the rest."""
    room = max(width - 1, 1)
    if 2 * len(line) <= room or _columns(line) <= room:  # no character has more than two columns
        return [line]
    # Colours end before the message unless it is a warning, which keeps its colour on every line.
    indent = " " * min(CONTINUATION, width // 4)
    folded, current = [], ""
    for word in _words(line, room - len(indent)):
        if current and _columns(current) + _columns(_without_separator(word)) > room:
            folded.append(_without_separator(current))
            current, word = indent, word.lstrip().removeprefix("| ")
        current += word
    return [*folded, _without_separator(current)]


def cut(line: str, width: int) -> list[str]:
    """Break a line that is wider than ``width - 1`` columns where a terminal would, without indenting the rest."""
    return _cut(line, max(width - 1, 1))


def _words(line: str, room: int) -> list[str]:
    """Split a line at its field separators, or at spaces if it has fewer than three fields, and cut wide pieces."""
    pieces = re.split(r"(?<= \| )", line)
    if len(pieces) < 3:
        pieces = [line]
    return [part for piece in pieces for part in _parts(piece, room)]


def _parts(piece: str, room: int) -> list[str]:
    if _columns(piece.rstrip()) <= room:
        return [piece]
    return [part for word in re.findall(r"\s*\S+\s*", piece) for part in _cut(word, room)]


def _cut(word: str, room: int) -> list[str]:
    """Cut a word into parts of at most ``room`` columns; escape sequences stay whole."""
    if _columns(word.rstrip()) <= room:
        return [word]
    parts = [""]
    for atom in re.findall(_ESCAPES.pattern + "|.", word, re.DOTALL):
        if _columns(parts[-1] + atom) > room:
            parts.append("")
        parts[-1] += atom
    return parts


def _without_separator(text: str) -> str:
    return text.rstrip().removesuffix(" |").rstrip()


def _columns(text: str) -> int:
    return columns(_ESCAPES.sub("", text))
