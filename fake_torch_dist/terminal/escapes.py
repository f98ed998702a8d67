"""ANSI escape sequences in bytes: the colours that a line leaves open, cursor movements, and the width of text.

Covers what programs write to a log or a progress bar. What this module does not do: act as a terminal; fonts, character
sets and scroll regions are not interpreted. ``only_colors`` lets text, colours and links of a rank through to a
terminal and nothing else: no title, clipboard or notification, no mode, no cursor movement, as an escape sequence or an
8-bit control.
"""

import re
from functools import lru_cache

from fake_torch_dist.terminal.width import columns

RESET = b"\x1b[0m"
CURSOR_CODE = re.compile(rb"\x1b\[(\d{0,4})([ABCEFJK])")
"""Sequences that bars redraw themselves with: cursor up, down, right, to the next or previous line; erase below, erase
the line."""
OPEN_AT_END = re.compile(rb"\x1b(?!\[0?m)[^\x1b\n]*\n")
"""Matches if the last code of some line is not a reset."""
UNFINISHED = re.compile(rb"\x1b(?:\[[0-9;:?]{0,32})?\Z")
"""A control sequence that the next chunk may complete."""
_SGR = re.compile(rb"\x1b\[([0-9;:]{0,64})m")
_SUSPECT = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Bytes that lines of plain text do not have. Those from 0x80 on are parts of letters in UTF-8, or 8-bit controls."""
_END_OF_STRING = r"(?:\x07|\x1b\\|[\x9c\udc9c])"
_CONTROL = re.compile(
    rf"""
    (?P<kept> \x1b\[ [0-9;:]{{0,64}} m )
    | \x1b\]8; (?P<link> [^\x00-\x1f\x7f-\x9f\udc80-\udc9f]* ) (?:\x07|\x1b\\)
    | (?: \x1b\[ | [\x9b\udc9b] ) [0-?]* [\ -/]* [@-~]?
    | (?: \x1b[]PX^_] | [\x90\x98\x9d-\x9f\udc90\udc98\udc9d-\udc9f] ) [^\x07\x1b\n\x9c\udc9c]* {_END_OF_STRING}?
    | \x1b [\ -/]* [0-~]?
    | (?P<blank> [\x05\x08\x0b\x0c\x0e\x0f] )
    | [\x00-\x08\x0b-\x1f\x7f-\x9f\udc80-\udc9f]
    """,
    re.VERBOSE,
)
"""Matches one control, or a string that a control begins. Bytes that are no UTF-8 are surrogates here."""
_OPEN_LINK, _END_OF_LINK = "\x1b]8;", "\x1b]8;;\x1b\\"
_LINKS = re.compile(r"\x1b\]8;[^;\x1b\n]*;([^\x1b\n]*)\x1b\\")
_ROW_PIECE = re.compile(r"(\x1b\[[0-9;:]*m)|\x1b\]8;[^\x1b]*\x1b\\|(.)", re.DOTALL)

_LAST_CODE = 107
_OFF = {22: (1, 2), 23: (3,), 24: (4, 21), 25: (5, 6), 27: (7,), 28: (8,), 29: (9,), 39: (30,), 49: (40,), 55: (53,)}
"""Codes that end others (ECMA-48, 8.3.117). Colours count as 30 (text) and 40 (background)."""


def left_open(line: bytes, before: bytes = b"") -> bytes:
    """Return the SGR codes in force after ``line``, if ``before`` were in force before it; empty if there are none."""
    codes = _SGR.findall(line)
    return _still_open(before, tuple(codes)) if codes else before


@lru_cache(maxsize=1024)
def _still_open(before: bytes, codes: tuple[bytes, ...]) -> bytes:
    open_codes: dict[int, bytes] = {}
    for parameters in (*_SGR.findall(before), *codes):
        _apply(open_codes, parameters)
    return b"".join(b"\x1b[%bm" % code for code in open_codes.values())


def _apply(open_codes: dict[int, bytes], parameters: bytes) -> None:
    codes = parameters.split(b";")
    while codes:
        code = codes.pop(0)
        number = int(code.split(b":")[0] or 0)
        if number in (38, 48) and b":" not in code and codes:  # 38;5;N and 38;2;R;G;B
            taken = 2 if codes[0] == b"5" else 4
            code = b";".join([code, *codes[:taken]])
            del codes[:taken]
        if number == 0:
            open_codes.clear()
        elif number in _OFF:
            for kind in _OFF[number]:
                open_codes.pop(kind, None)
        elif number <= _LAST_CODE:
            kind = _kind(number)
            open_codes.pop(kind, None)
            open_codes[kind] = code


def _kind(number: int) -> int:
    if 30 <= number <= 38 or 90 <= number <= 97:
        return 30
    if 40 <= number <= 48 or 100 <= number <= 107:
        return 40
    return number


def only_colors(lines: bytes) -> bytes:
    """Return lines without controls other than colours, links, tabs and newlines; links left open are closed."""
    if not _SUSPECT.search(lines):
        return lines
    text = _CONTROL.sub(_harmless, lines.decode("utf-8", "surrogateescape"))
    if _OPEN_LINK in text:
        text = "\n".join(map(_with_links_closed, text.split("\n")))
    return text.encode("utf-8", "surrogateescape")


def _harmless(found: re.Match[str]) -> str:
    if found["kept"]:
        return found["kept"]
    if found["link"] is not None:
        return f"{_OPEN_LINK}{found['link']}\x1b\\"
    return " " if found["blank"] else ""


def _with_links_closed(line: str) -> str:
    targets = _LINKS.findall(line)
    return line + _END_OF_LINK if targets and targets[-1] else line


def clipped(row: bytes, width: int) -> bytes:
    """Return ``row`` in at most ``width`` columns, with colours closed, tabs as one space, no controls and links."""
    text = only_colors(row).decode("utf-8", "replace")
    if len(text) <= width and text.isascii() and text.isprintable():
        return text.encode()
    kept, room, colored = [], width, False
    for code, character in _ROW_PIECE.findall(text):
        if code:
            kept.append(code)
            colored = True
        elif character:
            room -= columns(character)
            if room < 0:
                break
            kept.append(" " if character == "\t" else character)
    return "".join(kept).encode() + (RESET if colored else b"")


def width_of(row: bytes) -> int:
    """Return the terminal columns that ``row`` takes; a tab counts as one."""
    text = only_colors(row).decode("utf-8", "replace")
    return sum(columns(character) for _, character in _ROW_PIECE.findall(text) if character)


def place_after(text: bytes, width: int) -> tuple[int, int]:
    """Return rows down and columns from the left of the cursor after ``text``, in a terminal of that width.

    After a full row the cursor is in the next one.
    """
    row = column = 0
    for _, character in _ROW_PIECE.findall(only_colors(text).decode("utf-8", "replace")):
        if character:
            column += (taken := columns(character))
            if column > width:
                row, column = row + 1, taken
    return (row + 1, 0) if column == width else (row, column)


def divided(row: bytes, width: int) -> tuple[bytes, bytes]:
    """Return ``row`` before and after ``width`` columns, without controls. Colours at the cut are before it."""
    text = only_colors(row).decode("utf-8", "surrogateescape")
    end = 0
    for piece in _ROW_PIECE.finditer(text):
        if piece[2]:
            width -= columns(piece[2])
            if width < 0:
                break
        end = piece.end()
    return text[:end].encode("utf-8", "surrogateescape"), text[end:].encode("utf-8", "surrogateescape")
