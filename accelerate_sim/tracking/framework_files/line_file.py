"""``LineFile``: a tracker whose file has a line for some records, each about a step.

A run that is resumed removes the lines of the steps that it makes again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from accelerate_sim.artifacts import plain_file
from accelerate_sim.artifacts.atomic import explained, make_directory
from accelerate_sim.records import Record
from accelerate_sim.tracking.growing_file import GrowingFile
from accelerate_sim.tracking.one_file import OneFile
from accelerate_sim.tracking.tracker import RunStart, TrackerContext


class LineFile(OneFile):
    """Writes one file; a subclass names it, words its lines, and reads the step of one."""

    NAME = ""
    """Path of the file below the output directory."""

    @classmethod
    def open(cls, context: TrackerContext) -> LineFile:
        """The tracker of a session."""
        return cls(context.directory)

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / self.NAME
        self.config: Mapping[str, Any] = {}

    def first(self) -> bytes:
        """Bytes at the beginning of the file."""
        return b""

    def lines(self, record: Record) -> Iterator[str]:
        """The lines of a record, without their ends."""
        return iter(())

    def step_of(self, line: str) -> int:
        """Steps that are done when a line is written; 0 for a line that is about none. ValueError if it is cut off."""
        raise NotImplementedError

    def begin(self, start: RunStart) -> None:
        """Open the file; a resumed run goes on after the lines of the steps that were made. Raises OutputError."""
        self.close()
        self.config = start.config
        with explained(self.path):
            make_directory(self.path.parent, self.directory)
            kept = self._kept(start.step) if start.step else 0
            self._file = GrowingFile(self.path, kept)
            if not kept:
                self._file.append(self.first())

    def _kept(self, step: int) -> int:
        """Length in bytes of the lines that are about no later step."""
        try:
            data = plain_file.read(self.path)
        except FileNotFoundError:
            return 0
        kept = 0
        for line in data.splitlines(keepends=True):
            try:
                if not line.endswith(b"\n") or self.step_of(line.decode().rstrip("\n")) > step:
                    break
            except ValueError:
                break
            kept += len(line)
        return kept

    def observe(self, record: Record) -> None:
        for line in self.lines(record):
            self._append(f"{line}\n".encode())

    # --- Facts of the run ------------------------------------------------------------------------

    @property
    def log_every(self) -> int:
        return int(self.config["log"]["every"])

    @property
    def total_steps(self) -> int:
        """Steps that the run makes."""
        train = self.config["train"]
        whole = int(train["epochs"]) * int(train["steps_per_epoch"])
        return min(whole, int(train["max_steps"])) if train.get("max_steps") else whole
