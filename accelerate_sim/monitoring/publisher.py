"""``Publisher``: publishes the running job for ``fake-nvidia-smi``, with ``--publish`` only.

A file in the user's runtime directory holds the config of the run, and is updated at each wait of the clock.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from accelerate_sim.artifacts import plain_file
from accelerate_sim.monitoring.published_job import Position, PublishedJob, path_of, process_start
from accelerate_sim.process.clock import Clock
from accelerate_sim.process.runtime_directory import make_runtime_directory
from accelerate_sim.process.signals import Signals
from accelerate_sim.records import Record
from accelerate_sim.tracking.tracker import RunStart

SHORTEST_S = 0.02
"""Shortest time between two updates if the clock never waits, in real seconds."""


class Publisher:
    """A tracker that writes the clock's position, and ignores the records."""

    def __init__(
        self,
        clock: Clock,
        signals: Signals,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        generic_names: bool = False,
    ) -> None:
        """Raises UnsafeDirectory if the runtime directory cannot be used."""
        self._directory: Path = make_runtime_directory()
        self._pid = os.getpid()
        self._clock = clock
        self._monotonic = monotonic
        self._generic_names = generic_names
        self._fd: int | None = None
        self._position = self._standing()
        clock.add_listener(self._advance)
        self._signals = signals
        signals.listeners.add(
            on_pause=self._pause, on_redraw=self._go_on, on_hold=self._pause, on_release=self._go_on
        )  # fmt: skip

    @property
    def path(self) -> Path:
        return path_of(self._directory, self._pid)

    def observe(self, record: Record) -> None: ...

    def flush(self) -> None: ...

    def sync(self) -> None: ...

    def begin(self, start: RunStart) -> None:
        """Publish a run that begins or resumes."""
        job = PublishedJob(
            run=start.number,
            seed=start.seed,
            config=dict(start.config),
            origin_s=start.origin_s,
            start=self._clock.start.isoformat(),
            pids=start.pids or (self._pid,),
            process_start=process_start(self._pid),
            command=sys.executable or "python",
            attempt=start.attempt,
            generic_names=self._generic_names,
        )
        self._close_file()
        scratch = self.path.with_suffix(".new")
        with suppress(OSError):
            scratch.unlink()
        with suppress(OSError):  # the run continues, unpublished
            self._fd = plain_file.create(scratch, 0o600)
            self._position = self._standing()
            os.write(self._fd, self._position.line() + job.line())
            os.rename(scratch, self.path)

    def _advance(self, second: float) -> None:
        """Write the position before the clock waits for ``second``."""
        if self._fd is None:
            return
        real_s, clock = self._monotonic(), self._clock
        if self._signals.is_held:
            self._write(Position(clock.reached_s(), real_s, 0.0, second))
        elif clock.speed < math.inf:
            self._write(Position(clock.reached_s(), real_s, clock.speed, second))
        elif real_s >= self._position.real_s + SHORTEST_S:
            self._write(self._standing())

    def _standing(self) -> Position:
        return Position(self._clock.now_s, self._monotonic(), 0.0, self._clock.now_s)

    def _pause(self) -> None:
        """Write a position that stands still, before the process is stopped."""
        real_s = self._monotonic()
        self._write(Position(self._position.at(real_s), real_s, 0.0, self._position.until_s))

    def _go_on(self) -> None:
        """Write a moving position again after a stop. A resize comes here too, and changes nothing."""
        clock, paused = self._clock, self._position
        if self._signals.is_held:
            return
        if paused.speed == 0.0 and clock.speed < math.inf:
            self._write(Position(paused.now_s, self._monotonic(), clock.speed, paused.until_s))

    def _write(self, position: Position) -> None:
        self._position = position
        if self._fd is not None:
            with suppress(OSError):
                os.pwrite(self._fd, position.line(), 0)

    def _close_file(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def close(self) -> None:
        """Remove the published file."""
        self._close_file()
        with suppress(OSError):
            self.path.unlink()
