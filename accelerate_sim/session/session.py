"""What all runs of one process share: the screen, the clock, the signals, and those who listen to records.

The command line makes a session and enters it; a script that just imports the package gets a quiet one that writes to
standard output and never waits. Accelerate keeps such things in its shared state, too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

from accelerate_sim.display.keyboard import Keyboard
from accelerate_sim.display.screen import Screen
from accelerate_sim.display.style import Style
from accelerate_sim.process.clock import Clock
from accelerate_sim.process.placement import Placement, terminal_behind_launcher
from accelerate_sim.process.signals import Signals
from accelerate_sim.records import DeviceRecord, Record

if TYPE_CHECKING:
    from accelerate_sim.checkpoints.resume import Resumption
    from accelerate_sim.session.coordination import Job
    from accelerate_sim.tracking.jsonl import JsonlTracker
    from accelerate_sim.tracking.tracker import Tracker

PATIENCE_S = 0.2
"""Real seconds that a reader which takes nothing is waited for when the session is told to end."""


class Observer(Protocol):
    """Is told what the run reports."""

    def observe(self, record: Record) -> None: ...

    def flush(self) -> None: ...


class Session:
    """Made once per process; ``current()`` is the one that is entered."""

    _current: ClassVar[Session | None] = None

    def __init__(
        self,
        *,
        screen: Screen,
        clock: Clock,
        style: Style,
        signals: Signals,
        progress: bool = True,
        output_dir: Path | None = None,
        job: Job | None = None,
    ) -> None:
        self.screen = screen
        self.clock = clock
        self.style = style
        self.signals = signals
        self.progress = progress
        self.output_dir = output_dir
        self.job = job
        """The processes that play one rank each; None: this one plays all."""
        self.run_number = 1
        self.observers: list[Observer] = []
        self.observers_of_run: list[Observer] = []
        """Come first, and go when the run ends."""
        self.trackers: list[Tracker] = []
        """Those observers that are told when a run begins or goes on."""
        self.metrics: JsonlTracker | None = None
        """The observer whose file belongs to the checkpoints."""
        self.resumption: Resumption | None = None
        """What the first run goes on with."""
        self.look: Callable[[], DeviceRecord | None] | None = None
        """The GPUs of the run now, where a tool knows them; None between two runs."""
        self.save: Callable[[], str] | None = None
        """Saves the run at its latest moment, and says what it did; None where there is nothing to save."""
        self.world_size = 1
        self.where: Callable[[], str] = lambda: "before the first step"
        """Says how far the run is, for whoever stops it."""
        self._keyboard = Keyboard(screen.fd)
        signals.before_waiting = self._rest
        signals.on_pause = self._pause
        signals.on_redraw = self._redraw
        screen.on_blocked = signals.end_if_told

    @property
    def placement(self) -> Placement | None:
        """The rank that this process plays; None: all."""
        return self.job.placement if self.job else None

    @property
    def is_main_process(self) -> bool:
        return self.job is None or self.job.placement.is_main

    @classmethod
    def current(cls) -> Session:
        if cls._current is None:
            cls._current = quiet_session()
        return cls._current

    def enter(self) -> None:
        Session._current = self
        if self.screen.live:
            self._keyboard.hush()
        if not os.isatty(self.screen.fd):
            self.signals.watch(self.screen.fd, self.screen.hang_up)

    def leave(self) -> None:
        Session._current = None
        self._keyboard.restore()

    def begin_run(self, world_size: int, where: Callable[[], str]) -> None:
        """A run of so many ranks begins; ``where()`` says how far it is."""
        self.world_size = world_size
        self.where = where

    def end_run(self) -> None:
        """The run is over; the next one has the next number."""
        self.observers_of_run = []
        self.save = None
        self.look = None
        self.resumption = None
        self.run_number += 1
        self.where = lambda: "between two runs"

    def report(self, record: Record) -> None:
        """Tell everyone."""
        for observer in (*self.observers_of_run, *self.observers):
            observer.observe(record)

    def report_again(self, record: Record, *others: Observer) -> None:
        """Tell ``others`` and those who keep records; who watches has seen it, in the process before."""
        for observer in (*others, *self.observers):
            observer.observe(record)

    def metrics_length(self) -> tuple[int, int]:
        """Bytes and CRC-32 of metrics.jsonl with all that has been reported; 0 without one."""
        return (self.metrics.size_bytes, self.metrics.crc32) if self.metrics else (0, 0)

    def sync_metrics(self) -> None:
        """What has been reported is on the disk to stay, and in the files of trackers. Raises OutputError."""
        if self.metrics:
            self.metrics.sync()
        for tracker in self.trackers:
            tracker.sync()

    def flush(self) -> None:
        """Nothing stays in a buffer."""
        for observer in self.observers:
            observer.flush()
        self.screen.flush()

    def hurry(self) -> None:
        """The session has been told to end: what is still written is given up if the reader takes nothing."""
        self.screen.on_blocked = lambda: None
        self.screen.patience_s = PATIENCE_S

    def _rest(self, seconds: float) -> None:
        """Nothing happens for so long."""
        if seconds > 0.0:
            for observer in self.observers:
                observer.flush()
        self.screen.rest(seconds)

    def _pause(self) -> None:
        """The shell takes the terminal."""
        self.screen.clear()
        self._keyboard.restore()

    def _redraw(self) -> None:
        """The terminal is ours again, or has another size."""
        if self.screen.live:
            self._keyboard.hush()
            self.screen.redraw()


def quiet_session() -> Session:
    """For scripts without the command line: plain lines on standard output, no waiting, no signals."""
    if sys.stdout is not None:
        sys.stdout.flush()
    signals, placement, job = Signals(), Placement.of(), None
    if placement:
        from accelerate_sim.session.coordination import Job

        job = Job(placement)
    clock = Clock(datetime.now().replace(microsecond=0), wait=signals.wait)
    return Session(
        screen=Screen(1, live=False),
        clock=clock,
        style=Style(color=False, ascii=False),
        signals=signals,
        job=job,
    )


def terminal_style(fd: int, *, ascii_only: bool = False) -> tuple[bool, Style]:
    """(whether live lines can be drawn, colours and glyphs) for what ``fd`` is connected to.

    NO_COLOR, FORCE_COLOR and TERM=dumb are obeyed (https://no-color.org, https://force-color.org). A launcher says
    what it writes to.
    """
    live = on_terminal(fd) and os.environ.get("TERM") != "dumb"
    color = bool(os.environ.get("FORCE_COLOR") or os.environ.get("FAKE_TORCHRUN_COLOR")) or live
    if os.environ.get("NO_COLOR"):
        color = False
    return live, Style(color=color, ascii=ascii_only or not _shows_unicode())


def on_terminal(fd: int) -> bool:
    """Whether a person at a terminal sees what is written to ``fd``, if need be through a launcher."""
    return os.isatty(fd) or terminal_behind_launcher() is not None


def _shows_unicode() -> bool:
    """Whether standard output has more than ASCII. Python writes UTF-8 in the C locale, too, whoever set it."""
    environ = os.environ.get
    if environ("LC_ALL") in ("C", "POSIX") and not environ("PYTHONIOENCODING") and environ("PYTHONUTF8") != "1":
        return False
    return "utf" in (getattr(sys.stdout, "encoding", None) or "ascii").lower()
