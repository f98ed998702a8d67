"""A log file that is rotated while it grows, by renaming and by copying and truncating in turns."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

from accelerate_sim.hazards.appended_file import AppendedFile
from accelerate_sim.hazards.hazard import Hazard, LoggingProcess, Passage, Piece

FULL_BYTES = 10 * 2**20
SMALLEST_BYTES = 1024
KEPT = 5
"""Older files that are kept."""


class Rotate(Hazard):
    """Writes train.log beside the output. With copytruncate the line between copy and truncation is lost there."""

    def __init__(self, name: str, share: float, process: LoggingProcess) -> None:
        super().__init__(name, share, process)
        assert process.directory is not None
        self._path = process.directory / f"train{process.suffix}.log"
        self._limit = max(int(FULL_BYTES * share), SMALLEST_BYTES)
        self._file = AppendedFile(self._path)
        self._rotations = 0

    def pass_bytes(self, passage: Passage | None, pieces: list[Piece]) -> list[Piece]:
        is_full = self._file.size_bytes >= self._limit
        if is_full and passage is not None and not passage.is_mixed:
            self._shift()
            self._rotations += 1
            if self._rotations % 2:
                os.rename(self._path, f"{self._path}.1")
                self._file.open()
                self.note(passage, f"{self._path.name} was renamed before it")
            else:
                shutil.copyfile(self._path, f"{self._path}.1")
                self._file.empty()
                self.note(passage, f"it is lost in {self._path.name}: written between copy and truncation")
                return pieces
        for _, data in pieces:
            self._file.write(data)
        return pieces

    def _shift(self) -> None:
        for number in range(KEPT, 0, -1):
            old = self._path.with_name(f"{self._path.name}.{number}")
            if old.exists():
                old.rename(f"{self._path}.{number + 1}")

    def close(self) -> Sequence[Piece]:
        self._file.close()
        return ()
