"""Reads a spoiled log by its truth alone: finds each intended line in the bytes that were really written.

The expressions are made from the intended line and the words of ``done``; nothing of the hazards' code is used. What is
left over when all lines of the truth have been found was never told, and fails the reading.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

TRACEBACK = rb"[^\n]*\n"
COLOR = rb"(?:\x1b\[[0-9;]*m)*"


@dataclass
class _Unit:
    """The bytes of one line as the truth describes them."""

    stream: str
    body: bytes
    """Expression of the line with its newline."""
    after: list[tuple[str, bytes]] = field(default_factory=list)
    """(stream, expression) of each line that follows it."""
    cut: int | None = None
    """Bytes before the place where the next line stands, if it was torn."""


class SpoiledLog:
    """The bytes of the two streams of one process, read from their beginning."""

    def __init__(self, streams: dict[str, bytes]) -> None:
        self._streams = streams
        self._at = dict.fromkeys(streams, 0)

    def read(self, truth: Sequence[dict[str, Any]]) -> None:
        """Find all lines of the truth in their order, and nothing else. AssertionError if one is not there."""
        units = _units(truth)
        number = 0
        while number < len(units):
            unit = units[number]
            if unit.cut is None or number + 1 == len(units):
                self._take_all(truth[number], unit)
            else:
                number += 1
                self._take_torn(truth[number - 1], unit, truth[number], units[number])
            number += 1
        for stream, data in self._streams.items():
            assert self._at[stream] == len(data), f"not in the truth: {data[self._at[stream] :][:300]!r}"

    def _take_all(self, entry: dict[str, Any], unit: _Unit) -> None:
        self._take(entry, unit.stream, unit.body)
        for stream, expression in unit.after:
            self._take(entry, stream, expression)

    def _take_torn(self, entry: dict[str, Any], unit: _Unit, other: dict[str, Any], inner: _Unit) -> None:
        """A line whose end stands behind the next one, if that goes to the same stream."""
        assert unit.cut is not None
        stream, begin = unit.stream, self._at[unit.stream]
        head = self._streams[stream][begin : begin + unit.cut]
        self._at[stream] += unit.cut
        self._take_all(other, inner)
        rest = self._streams[stream][self._at[stream] :]
        found = re.compile(unit.body, re.DOTALL).match(head + rest)
        assert found, f"{entry}: {(head + rest)[:400]!r}"
        self._at[stream] += found.end() - unit.cut

    def _take(self, entry: dict[str, Any], stream: str, expression: bytes) -> None:
        data = self._streams[stream]
        found = re.compile(expression, re.DOTALL).match(data, self._at[stream])
        assert found, f"{entry}: {stream} goes on with {data[self._at[stream] :][:400]!r}"
        self._at[stream] = found.end()


def _units(truth: Sequence[dict[str, Any]]) -> list[_Unit]:
    units, printed = [], []
    for entry in truth:
        unit, same = _unit(entry, printed)
        units.append(unit)
        printed.append(same)
    return units


def _unit(entry: dict[str, Any], printed: list[tuple[str, bytes]]) -> tuple[_Unit, tuple[str, bytes]]:
    """The unit of an entry, and (stream, expression) of the line as it comes again after a rewind."""
    text, stream, after = str(entry["line"]), str(entry["stream"]), []
    line, boxed, frames, torn = text, False, 0, None
    before, end = b"", b"\n"
    again: tuple[str, bytes] | None = None
    loose = False
    link = ""
    for deed in entry["done"]:
        name, _, words = deed.partition(": ")
        numbers = [int(number) for number in re.findall(r"\d+", words)]
        if name == "nan":
            line = _without_loss(line, words)
        elif name.endswith("-time") or name in ("clock-skew", "dst-jump"):
            line = _with_time(line, words)
        elif name == "ansi":
            boxed, loose = "box" in words, True
            link = words.removesuffix(" is a hyperlink") if "hyperlink" in words else ""
        elif name == "rank-echo":
            after += [(stream, _expression(line, boxed, link, loose, echoed=True) + b"\n")] * numbers[0]
        elif name == "resume-rewind":
            again = (stream, _expression(line, boxed, link, loose) + b"\n")
            after += [*printed, again][-numbers[0] :]
        elif name == "traceback":
            after += [("stderr", TRACEBACK)] * numbers[0]
        elif name == "long-lines":
            after.append((stream, rb"[^\n]{%d}\n" % numbers[0]))
        elif name == "carriage-return":
            frames = numbers[0]
        elif name == "mid-utf8":
            before += b"\0\0" if "NUL" in words else b""
            end = b"\xff\n" if "ff" in words else " █\n".encode() if "█" in words else end
        elif name == "torn-lines" and "cut after" in words:
            torn = numbers[0]
        elif name == "split-streams":
            stream = "stderr"
    expression = _expression(line, boxed, link, loose)
    same = again or (str(entry["stream"]), expression + b"\n")
    bars = rb"(?:\r[^\r\n]*){%d}(?:\n\r[^\r\n]*\x1b\[A)?\r +\r" % frames if frames else b""
    body = re.escape(before) + bars + expression + re.escape(end)
    return _Unit(stream, body, after, torn), same


def _without_loss(line: str, words: str) -> str:
    missing = words.removesuffix(" is missing")
    if missing != words:
        assert missing in line, (line, words)
        return line.replace(missing, "", 1)
    old, _, new = words.partition(" became ")
    found = re.search(rf"loss\S*?[\s:=|'\"]*?{re.escape(old)}", line, re.IGNORECASE)
    assert found, (line, words)
    return line[: found.end() - len(old)] + new + line[found.end() :]


def _with_time(line: str, words: str) -> str:
    gone, _, prefix = words.partition(" is gone")
    old, _, new = (gone, "", "") if gone != words else words.partition(" became ")
    assert old in line, (line, words)
    return prefix.removeprefix(", and ").removesuffix("stands before the line") + line.replace(old, new, 1)


def _expression(line: str, boxed: bool, link: str, loose: bool, echoed: bool = False) -> bytes:
    """The line with colours anywhere if ``loose``; with other digits and another rank if ``echoed``."""
    if link:
        begin = line.index(link)
        parts = [line[:begin], f"\x1b]8;;file://{link}\x1b\\{link}\x1b]8;;\x1b\\", line[begin + len(link) :]]
        line, loose = "".join(parts), False
    pieces = list(_pieces(line, echoed))
    text = COLOR.join(pieces) if loose else b"".join(pieces)
    text = COLOR + text + COLOR if loose else text
    if boxed:
        edge = "─" * len(line)
        text = f"╭{edge}╮\n│".encode() + text + f"│\n╰{edge}╯".encode()
    return text


def _pieces(line: str, echoed: bool) -> Iterator[bytes]:
    if not echoed:
        yield from map(_escaped, line)
        return
    for part in re.split(r"(\d+\.\d{2,}|\[?[Rr]ank[ =:]?\d+)", line):
        if re.fullmatch(r"\d+\.\d{2,}", part):
            yield re.escape(part[:-1].encode()) + rb"\d"
        elif re.fullmatch(r"\[?[Rr]ank[ =:]?\d+", part):
            yield re.escape(part.rstrip("0123456789").encode()) + rb"\d+"
        else:
            yield from map(_escaped, part)


@cache
def _escaped(character: str) -> bytes:
    return re.escape(character.encode())
