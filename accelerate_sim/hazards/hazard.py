"""The form of a hazard, and the passage of one line through hazards.

A hazard may alter the words of a passage, then the bytes that are written for it, and it may hold bytes until the end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

Piece = tuple[str, bytes]
"""A stream, ``stdout`` or ``stderr``, and the bytes of one write to it."""


class LoggingProcess(NamedTuple):
    """Facts of the process whose lines pass."""

    seed: int
    rank: int
    """Rank of the process; 0 if it plays all ranks."""
    world_size: int
    gpus_per_node: int
    directory: Path | None
    """The output directory, if there is one."""
    suffix: str
    """End of the names of this process's files: empty for rank 0."""


class Intended(NamedTuple):
    """A line as the run prints it without hazards."""

    number: int
    """Count of the process's lines, from 0."""
    rank: int
    stream: str
    time: datetime
    step: int
    """The last step that was reported; 0 before the first."""
    text: str


@dataclass
class Passage:
    """The outcome of one line."""

    line: Intended
    text: str
    """The line as it is now."""
    stream: str
    after: list[tuple[str, str]] = field(default_factory=list)
    """(stream, line) of each further line that is printed after it."""
    done: list[str] = field(default_factory=list)
    """Deeds of the hazards, for the truth."""
    is_mixed: bool = False
    """True if its writes lack its end, or have the end of a line before."""


class Hazard:
    """Base class of the hazards of one process's log lines; a subclass overrides the methods for what it spoils."""

    def __init__(self, name: str, share: float, process: LoggingProcess) -> None:
        self.name = name
        self.share = share
        self.process = process

    def draw(self, number: int, what: str = "") -> float:
        """A uniform number from 0 to 1 that depends on seed, hazard, rank and line number alone."""
        key = f"{self.process.seed}/{self.name}/{self.process.rank}/{number}/{what}"
        return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") / 2**64

    def strikes(self, number: int) -> bool:
        """True if the hazard strikes the line of this number."""
        return self.share >= 1.0 or self.draw(number) < self.share

    def note(self, passage: Passage, text: str) -> None:
        """Add to the truth of a line what the hazard did."""
        passage.done.append(f"{self.name}: {text}")

    def alter(self, passage: Passage) -> None:
        """Change the words of a line."""

    def pass_bytes(self, passage: Passage | None, pieces: list[Piece]) -> list[Piece]:
        """The writes that take the place of ``pieces``; ``passage`` is None for a bar's bytes."""
        return pieces

    def see(self, stream: str, data: bytes, time: datetime) -> None:
        """Take note of a write as it leaves the process, after all hazards."""

    def close(self) -> Sequence[Piece]:
        """The writes that are still held."""
        return ()

    def end(self) -> None:
        """Close files, after the last write has been seen."""
