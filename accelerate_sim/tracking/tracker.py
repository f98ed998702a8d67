"""The interfaces of what observes the records of runs: observers, keepers and trackers."""

from __future__ import annotations

from typing import Protocol

from accelerate_sim.records import Record
from accelerate_sim.tracking.run_start import RunStart


class Observer(Protocol):
    """Receives each record of a run."""

    def observe(self, record: Record) -> None: ...

    def flush(self) -> None: ...


class Keeper(Observer, Protocol):
    """An observer that writes files. Writing raises OutputError; closing twice is allowed."""

    def close(self) -> None: ...


class Tracker(Keeper, Protocol):
    """A keeper that is also told when a run begins or resumes."""

    def begin(self, start: RunStart) -> None: ...

    def sync(self) -> None:
        """Write everything observed so far, because a checkpoint is about to be written that counts on it."""
