"""Everything that keeps the records of a session's runs: metrics.jsonl and the trackers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate_sim.records import Record
from accelerate_sim.tracking.tracker import Keeper, Observer, RunStart, Tracker

if TYPE_CHECKING:
    from accelerate_sim.tracking.jsonl import JsonlTracker


class Outputs:
    """The keepers of one session. ``directory`` is ``--output-dir``; None: no files are written."""

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = directory
        self._metrics: JsonlTracker | None = None
        self._trackers: list[Tracker] = []
        self._keepers: list[Keeper] = []
        self._observers: list[Observer] = []
        self.on_fault: Callable[[Mapping[str, Any]], None] | None = None
        """Takes the transitions of faults of a session that has no file for them; None: they are not kept."""

    def add_keepers(self, metrics: JsonlTracker | None, trackers: Sequence[Tracker]) -> None:
        """Add the tracker of metrics.jsonl, whose length checkpoints store, and the other trackers."""
        self._metrics = metrics
        self._trackers += trackers
        self._keepers += [*([metrics] if metrics else []), *trackers]
        self._observers += self._keepers

    def add_keeper(self, keeper: Keeper) -> None:
        """Add a keeper that no checkpoint depends on."""
        self._keepers.append(keeper)
        self._observers.append(keeper)

    def add_observer(self, observer: Observer) -> None:
        """Add an observer of all records."""
        self._observers.append(observer)

    def give_faults_to(self, take: Callable[[Mapping[str, Any]], None]) -> None:
        """Give the transitions of faults to ``take``, as no file has them."""
        self.on_fault = take

    def begin_attempt(self, number: int | None) -> None:
        """Write this attempt's number, from 0, into each line of metrics.jsonl; None: none, as without faults."""
        if self._metrics:
            self._metrics.begin_attempt(number)

    def begin(self, start: RunStart) -> None:
        """Begin a run, new or resumed, in each tracker."""
        for tracker in self._trackers:
            tracker.begin(start)

    def observe(self, record: Record) -> None:
        """Give a record to all observers."""
        for observer in self._observers:
            observer.observe(record)

    def flush(self) -> None:
        """Write what the observers have buffered."""
        for observer in self._observers:
            observer.flush()

    def metrics_length(self) -> tuple[int, int]:
        """Bytes and CRC-32 of metrics.jsonl including all records reported so far; zeros without the file."""
        return (self._metrics.size_bytes, self._metrics.crc32) if self._metrics else (0, 0)

    def sync(self) -> None:
        """Write all records to the disk, and to the files of trackers. Raises OutputError."""
        if self._metrics:
            self._metrics.sync()
        for tracker in self._trackers:
            tracker.sync()

    def close(self) -> None:
        """Close all keepers; a second call does nothing. Raises OutputError."""
        for keeper in self._keepers:
            keeper.close()
