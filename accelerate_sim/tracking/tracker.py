"""The interfaces of observers, keepers and trackers, and the facts that a tracker is given when it and a run begin."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from accelerate_sim.config.sections.output import LogConfig
from accelerate_sim.process.signals import Signals
from accelerate_sim.records import DeviceRecord, Record


@dataclass(frozen=True, slots=True)
class TrackerContext:
    """The parts of a session that a tracker may use."""

    log: LogConfig
    output_dir: Path | None
    """Directory for a tracker's files. The session has one if ``writes_files`` is true of the tracker."""
    signals: Signals
    """The session's waiting loop, for a tracker that answers requests."""
    look: Callable[[], DeviceRecord | None]
    """Reads the GPUs at the present simulated time; None between two runs and for GPUs that NVIDIA did not make."""
    report: Callable[[Record], None]
    """Hands a record to all observers, for a tracker that reports something of its own."""
    now: Callable[[], datetime] = datetime.now
    """Present time of the simulated clock."""
    served_ranks: range | None = None
    """Ranks whose GPUs an exporter of this process serves; None: all."""
    ailment: Callable[[], str | None] = lambda: None
    """Returns the reason why the training makes no progress at this moment; None if it does."""

    @property
    def directory(self) -> Path:
        """The output directory of a tracker whose ``writes_files`` is true. ``make_directory`` makes it."""
        assert self.output_dir is not None
        return self.output_dir


@dataclass(frozen=True, slots=True)
class RunStart:
    """Facts of a run that begins or is resumed."""

    number: int
    model: str
    seed: int
    step: int
    """Steps that were made before: 0 unless the run is resumed."""
    time: datetime
    """Simulated date and time."""
    config: Mapping[str, Any]
    origin_s: float = 0.0
    """Second of the session's clock at which the run began."""
    pids: tuple[int, ...] = ()
    """Process of each rank, in rank order; empty if one process plays all ranks."""
    attempt: int | None = None
    """Number of the attempt, from 0; None in a run in which no fault happens."""


class Observer(Protocol):
    """Receives each record of a run."""

    def observe(self, record: Record) -> None: ...

    def flush(self) -> None: ...


class Keeper(Observer, Protocol):
    """An observer that writes files. Writing raises OutputError; closing twice is allowed."""

    def close(self) -> None: ...


class Tracker(Keeper, Protocol):
    """A keeper that also gets the start of each run that begins or is resumed."""

    def begin(self, start: RunStart) -> None: ...

    def sync(self) -> None:
        """Write everything observed so far, because a checkpoint is about to rely on it."""


def flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys of a nested mapping, and their values."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
