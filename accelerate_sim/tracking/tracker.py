"""What a session asks of those who keep what runs report."""

from __future__ import annotations

from typing import Protocol

from accelerate_sim.records import Record
from accelerate_sim.tracking.run_start import RunStart


class Keeper(Protocol):
    """Keeps what runs report. Writing raises OutputError; to close twice does nothing."""

    def observe(self, record: Record) -> None: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...


class Tracker(Keeper, Protocol):
    """Is told, too, when a run begins or goes on."""

    def begin(self, start: RunStart) -> None: ...

    def sync(self) -> None:
        """A checkpoint is about to know of what has been observed."""
