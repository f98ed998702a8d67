"""``Outlet``: the one place where the lines of a process pass its hazards, between the screen and the descriptors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from importlib import import_module

from accelerate_sim.config.hazards import HAZARDS, HazardChoice
from accelerate_sim.hazards.hazard import Hazard, Intended, LoggingProcess, Passage, Piece
from accelerate_sim.hazards.truth import LineTruth


class Outlet:
    """Takes lines in their order, lets each hazard play, and gives writes to ``deliver(stream, bytes)``."""

    def __init__(
        self,
        choices: Iterable[HazardChoice],
        process: LoggingProcess,
        now: Callable[[], datetime],
        deliver: Callable[[str, bytes], None],
        encoding: str = "utf-8",
        finish: Callable[[], None] = lambda: None,
    ) -> None:
        """``finish`` is called after the last write."""
        self.process = process
        self._rank: int | None = None
        self._step = 0
        self._hazards = [_made(choice, process) for choice in choices]
        self._truth = LineTruth(process, process.directory) if process.directory else None
        self._now = now
        self._deliver = deliver
        self._finish = finish
        self._encoding = encoding
        self._count = 0

    def write_as(self, rank: int | None, *, printed_by: int | None = None) -> None:
        """Take the next lines as those of ``rank``; None: of the process, which prints them for any ``printed_by``."""
        self._rank = rank

    def reach(self, step: int | None) -> None:
        """Take the next lines as those after ``step``; None: the step before goes on."""
        if step is not None:
            self._step = step

    def lines(self, stream: str, lines: Sequence[str]) -> None:
        """Pass whole lines on."""
        for text in lines:
            rank = self.process.rank if self._rank is None else self._rank
            intended = Intended(self._count, rank, stream, self._now(), self._step, text)
            self._count += 1
            self._pass(Passage(intended, text, stream))

    def _pass(self, passage: Passage) -> None:
        for hazard in self._hazards:
            hazard.alter(passage)
        pieces = [(passage.stream, self._bytes(passage.text))]
        pieces += [(stream, self._bytes(text)) for stream, text in passage.after]
        for hazard in self._hazards:
            pieces = hazard.pass_bytes(passage, pieces)
        if self._truth:
            self._truth.write(passage)
        self._write(pieces)

    def put(self, stream: str, text: str) -> None:
        """Pass on bytes of a bar, which are no line."""
        pieces = [(stream, text.encode(self._encoding, "replace"))]
        for hazard in self._hazards:
            pieces = hazard.pass_bytes(None, pieces)
        self._write(pieces)

    def _bytes(self, text: str) -> bytes:
        return f"{text}\n".encode(self._encoding, "replace")

    def _write(self, pieces: Iterable[Piece]) -> None:
        for stream, data in pieces:
            for hazard in self._hazards:
                hazard.see(stream, data, self._now())
            self._deliver(stream, data)

    def close(self) -> None:
        """Write what hazards hold; a second call does nothing."""
        for index, hazard in enumerate(self._hazards):
            pieces = list(hazard.close())
            for later in self._hazards[index + 1 :]:
                pieces = later.pass_bytes(None, pieces)
            self._write(pieces)
        for hazard in self._hazards:
            hazard.end()
        self._hazards = []
        self._finish()
        if self._truth:
            self._truth.close()
            self._truth = None


def _made(choice: HazardChoice, process: LoggingProcess) -> Hazard:
    module, _, name = HAZARDS[choice.name].made_by.partition(":")
    hazard: Hazard = getattr(import_module(module), name)(choice.name, choice.share, process)
    return hazard
