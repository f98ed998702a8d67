"""Hazards of buffers: output that comes late, in blocks, or in another order than it was written."""

from __future__ import annotations

from collections.abc import Sequence

from accelerate_sim.hazards.hazard import Hazard, LoggingProcess, Passage, Piece

BLOCK = 8192
HELD_LINES = 8


class SplitStreams(Hazard):
    """Lines go to standard error at once, while those of standard output wait for eight more."""

    def __init__(self, name: str, share: float, process: LoggingProcess) -> None:
        super().__init__(name, share, process)
        self._held: list[Piece] = []

    def alter(self, passage: Passage) -> None:
        if passage.stream == "stdout" and self.strikes(passage.line.number):
            passage.stream = "stderr"
            self.note(passage, "it went to standard error, before lines that were written earlier")

    def pass_bytes(self, passage: Passage | None, pieces: list[Piece]) -> list[Piece]:
        self._held += [piece for piece in pieces if piece[0] == "stdout"]
        out = [piece for piece in pieces if piece[0] != "stdout"]
        if len(self._held) > HELD_LINES:
            out, self._held = out + self._held, []
        return out

    def close(self) -> Sequence[Piece]:
        held, self._held = self._held, []
        return held


class BlockBuffered(Hazard):
    """Standard output comes in blocks of 8 KiB, which end in mid-line; the last is lost when the process is killed."""

    def __init__(self, name: str, share: float, process: LoggingProcess) -> None:
        super().__init__(name, share, process)
        self._held = b""

    def alter(self, passage: Passage) -> None:
        if passage.stream == "stdout":
            self.note(passage, "it waits in a block of 8 KiB")

    def pass_bytes(self, passage: Passage | None, pieces: list[Piece]) -> list[Piece]:
        out: list[Piece] = []
        for stream, data in pieces:
            if stream != "stdout":
                out.append((stream, data))
                continue
            self._held += data
            while len(self._held) >= BLOCK:
                out.append((stream, self._held[:BLOCK]))
                self._held = self._held[BLOCK:]
        return out

    def close(self) -> Sequence[Piece]:
        held, self._held = self._held, b""
        return [("stdout", held)] if held else []
