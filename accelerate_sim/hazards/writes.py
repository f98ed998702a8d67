"""Hazards of single bytes and writes: lines torn by others, characters cut in two, bytes that are no text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from accelerate_sim.hazards.hazard import Hazard, LoggingProcess, Passage, Piece


class _Torn(NamedTuple):
    """A line of which the first part is written."""

    stream: str
    tail: bytes
    number: int


class TornLines(Hazard):
    """Two ranks write without a lock: the next line comes into the middle of a line, whose rest follows it."""

    def __init__(self, name: str, share: float, process: LoggingProcess) -> None:
        super().__init__(name, share, process)
        self._torn: _Torn | None = None

    def pass_bytes(self, passage: Passage | None, pieces: list[Piece]) -> list[Piece]:
        if passage is None:
            return pieces
        if self._torn is not None:
            torn, self._torn = self._torn, None
            passage.is_mixed = True
            where = "" if torn.stream == passage.stream else f", which went to {torn.stream}"
            self.note(passage, f"it stands behind the first part of line {torn.number}{where}")
            return [*pieces, (torn.stream, torn.tail)]
        number, text = passage.line.number, passage.text
        if len(text) < 2 or passage.after or not self.strikes(number):
            return pieces
        stream, data = pieces[0][0], b"".join(data for _, data in pieces)
        cut = 1 + int(self.draw(number, "cut") * (len(data) - 2))
        self._torn = _Torn(stream, data[cut:], number)
        passage.is_mixed = True
        self.note(passage, f"it was cut after {cut} bytes, where the process writes its next line")
        return [(stream, data[:cut])]

    def close(self) -> Sequence[Piece]:
        torn, self._torn = self._torn, None
        return [(torn.stream, torn.tail)] if torn else []


class MidUtf8(Hazard):
    """A write ends inside a character; a stray byte or a NUL stands in a line."""

    def pass_bytes(self, passage: Passage | None, pieces: list[Piece]) -> list[Piece]:
        if passage is None or not passage.text or not self.strikes(passage.line.number):
            return pieces
        (stream, data), *rest = pieces
        kind = self.draw(passage.line.number, "kind")
        if kind < 1 / 3:
            self.note(passage, "a byte ff, which is no UTF-8, stands at its end")
            return [(stream, data[:-1] + b"\xff\n"), *rest]
        if kind < 2 / 3:
            self.note(passage, "two NUL bytes stand before it")
            return [(stream, b"\0\0" + data), *rest]
        data = data[:-1] + " █\n".encode()
        self.note(passage, "a write ends inside the character █ at its end")
        return [(stream, data[:-2]), (stream, data[-2:]), *rest]
