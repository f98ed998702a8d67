"""Hazards of repetition: other ranks that print the same line, and steps that are repeated after a resume."""

from __future__ import annotations

import re
from collections import deque

from accelerate_sim.hazards.hazard import Hazard, LoggingProcess, Passage

MOST_ECHOES = 63
MOST_AGAIN = 50
DECIMALS = re.compile(r"\d+\.\d{2,}")
RANK = re.compile(r"(?i)(\[?rank[ =:]?)\d+")


class RankEcho(Hazard):
    """The other ranks print the line after it. Their ranks and the last digit of their figures differ."""

    def alter(self, passage: Passage) -> None:
        number = passage.line.number
        if not passage.text or not self.strikes(number):
            return
        others = [rank for rank in range(self.process.world_size) if rank != passage.line.rank][:MOST_ECHOES]
        for rank in others:
            passage.after.append((passage.stream, self._as_of(rank, passage.text, number)))
        self.note(passage, f"{len(others)} other ranks printed it, too")

    def _as_of(self, rank: int, text: str, number: int) -> str:
        digit = str(int(self.draw(number, f"rank{rank}") * 10))
        text = DECIMALS.sub(lambda figure: figure[0][:-1] + digit, text)
        return RANK.sub(lambda word: f"{word[1]}{rank}", text, count=1)


class ResumeRewind(Hazard):
    """Repeats the lines before, as if the run had gone on from an older checkpoint."""

    def __init__(self, name: str, share: float, process: LoggingProcess) -> None:
        super().__init__(name, share, process)
        self._recent: deque[tuple[str, str]] = deque(maxlen=MOST_AGAIN)

    def alter(self, passage: Passage) -> None:
        number = passage.line.number
        self._recent.append((passage.stream, passage.text))
        if passage.line.step and self.strikes(number):
            count = 1 + int(self.draw(number, "count") * len(self._recent))
            passage.after += list(self._recent)[-count:]
            self.note(passage, f"the last {count} lines came again after it")
            self._recent.clear()
