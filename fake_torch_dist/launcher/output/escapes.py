"""ANSI escape sequences in bytes: which colours a line leaves open, what moves a cursor, how wide text is.

Knows what programs write to a log or a progress bar. It is no terminal: fonts, character sets, scroll regions and the
8-bit control codes are not interpreted.
"""

import re
import unicodedata
from functools import lru_cache

RESET = b"\x1b[0m"
CURSOR_CODE = re.compile(rb"\x1b\[(\d{0,4})([ABEFJK])")
"""What bars redraw themselves with: cursor up, down, to the next or previous line; erase the screen below, the line."""
OPEN_AT_END = re.compile(rb"\x1b(?!\[0?m)[^\x1b\n]*\n")
"""Found if the last code of some line is not a reset."""
UNFINISHED = re.compile(rb"\x1b(?:\[[0-9;:?]{0,32})?\Z")
"""A control sequence that the next chunk may complete."""
_SGR = re.compile(rb"\x1b\[([0-9;:]{0,64})m")
_NOT_COLOR = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-ln-~]|[ -/]+[0-~]|[0-Z\\^-~])")
_CONTROLS = bytes.maketrans(b"\x05\x08\x0b\x0c\x0e\x0f", b" " * 6)
_ROW_PIECE = re.compile(r"(\x1b\[[0-9;:]*m)|\x1b\[[0-?]*[ -/]*[@-~]|\x1b.?|[\x00-\x08\x0a-\x1f\x7f]|(.)", re.DOTALL)

_LAST_CODE = 107
_OFF = {22: (1, 2), 23: (3,), 24: (4, 21), 25: (5, 6), 27: (7,), 28: (8,), 29: (9,), 39: (30,), 49: (40,), 55: (53,)}
"""Codes that end others (ECMA-48, 8.3.117). Colours count as 30 (text) and 40 (background)."""


def left_open(line: bytes, before: bytes = b"") -> bytes:
    """The SGR codes in force after ``line``, if ``before`` were in force before it; empty if there are none."""
    if b"\x1b" not in line:
        return before
    return _still_open(before, tuple(_SGR.findall(line)))


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
    """Lines without what would move the cursor, clear the screen or change the character set. Links are kept."""
    lines = lines.translate(_CONTROLS)
    return _NOT_COLOR.sub(b"", lines) if b"\x1b" in lines else lines


def clipped(row: bytes, width: int) -> bytes:
    """``row`` in at most ``width`` terminal columns, colours closed, tabs as one space, controls left out."""
    text = row.decode("utf-8", "replace")
    if len(text) <= width and text.isascii() and text.isprintable():
        return row
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


@lru_cache(maxsize=4096)
def columns(character: str) -> int:
    """Terminal columns of one character: East Asian wide ones take two, combining marks none."""
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
