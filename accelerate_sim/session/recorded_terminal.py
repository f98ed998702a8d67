"""``RecordedTerminal``: the terminal of a session whose frames are taken by a file or a page, and that never waits.

Real time is a number that each wait increases, so frames and times are those of a live session on an idle machine.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from accelerate_sim.display.canvas import TerminalCanvas
from accelerate_sim.display.screen import Screen
from accelerate_sim.display.style import Style
from accelerate_sim.process.clock import Clock
from accelerate_sim.process.listeners import Listeners
from accelerate_sim.process.signals import Signals, Stopped
from accelerate_sim.session.session import Session

if TYPE_CHECKING:
    from accelerate_sim.dashboard.canvas import DashboardState

INTERRUPTED_EXIT = 130
"""Exit code after Ctrl-C."""
NO_DESCRIPTOR = -1
"""Descriptor of a recorded screen. Its frames are not written to one, so it has no keyboard and never hangs up."""


@dataclass(frozen=True, slots=True)
class RunBeginning:
    """The moment of a session at which a run begins.

    A session that starts there shows the same as one that has played the earlier runs.
    """

    number: int = 1
    """Number of the run."""
    clock_s: float = 0.0
    """Simulated seconds since the start of the session."""
    real_s: float = 0.0
    """Real seconds since the start of the session."""
    dashboard: DashboardState | None = None
    """The dashboard then; None: there is none, or it has shown nothing yet."""


class RecordedTime:
    """Real seconds that pass only in waits."""

    def __init__(self, now_s: float = 0.0) -> None:
        self.now_s = now_s

    def read(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> None:
        self.now_s += seconds


class _WaitListeners(Listeners):
    """Listeners of waits alone."""

    def tell_pause(self) -> None:
        """Do nothing: nothing is drawn on the terminal that Ctrl-Z takes away."""

    def tell_redraw(self) -> None:
        """Do nothing: a recorded terminal keeps its size."""


class RecordedSignals(Signals):
    """Signals of a recorded session: waits take no time, and no terminal is resized or taken away by Ctrl-Z.

    At the recorded second ``interrupt_s`` the session ends as after Ctrl-C.
    """

    def __init__(self, time: RecordedTime, deadline: float | None, interrupt_s: float = math.inf) -> None:
        super().__init__(monotonic=time.read, deadline=deadline)
        self.listeners = _WaitListeners()
        self._time = time
        self._interrupt_s = interrupt_s

    def watch(self, fd: int, on_hang_up: Callable[[], None]) -> None:
        """Do nothing: a recording has no reader that hangs up."""

    def hold(self) -> None:
        """Do nothing: a recording has no pauses."""

    def wait(self, seconds: float) -> None:
        """Move the recorded time on, at most to the deadline or to Ctrl-C. Raises ``Stopped``."""
        self.begin_waiting(seconds)
        self.poll()
        if seconds > 0.0:
            end_s = min(self._interrupt_s, math.inf if self.deadline is None else self.deadline)
            self._time.advance(min(seconds, end_s - self._time.now_s))
            self.poll()

    def end_if_told(self) -> None:
        """Raise ``Stopped`` also when the second of the recorded Ctrl-C has come."""
        if self._time.now_s >= self._interrupt_s:
            raise Stopped("interrupted", INTERRUPTED_EXIT)
        super().end_if_told()


class RecordedTerminal(ABC):
    """A terminal of ``columns`` x ``rows`` whose frames ``show`` takes, one after the other.

    ``beginning`` is the run that the session starts with, and ``interrupt_s`` the recorded second of a Ctrl-C.
    """

    endless = False
    """True if runs follow each other for ever, as on a terminal, unless the command line says how many."""

    def __init__(
        self, columns: int, rows: int, beginning: RunBeginning | None = None, interrupt_s: float = math.inf
    ) -> None:
        self.columns, self.rows = columns, rows
        self.beginning = beginning or RunBeginning()
        self.time = RecordedTime(self.beginning.real_s)
        self.interrupt_s = interrupt_s

    @abstractmethod
    def show(self, text: str) -> None:
        """Take ``text``, which the terminal gets at the present recorded second."""

    def begin(self, start: datetime, title: str) -> None:  # noqa: B027 - a terminal may have no use for it
        """Take the start of the simulated clock and a title, before the first frame."""

    def ends_before(self, beginning: RunBeginning) -> bool:
        """True if the session ends here, although another run would begin."""
        return False

    def session(
        self, start: datetime, style: Style, *, duration_s: float | None, make: Callable[..., Session]
    ) -> Session:
        """A session on this terminal. ``make`` is given its screen, clock, style and signals."""
        signals = RecordedSignals(self.time, duration_s, self.interrupt_s)
        clock = Clock(start, wait=signals.wait, monotonic=self.time.read)
        clock.jump_to(self.beginning.clock_s)
        return make(screen=RecordedScreen(self, signals), clock=clock, style=style, signals=signals)


class RecordedCanvas(TerminalCanvas):
    """A canvas whose size never changes."""

    def __init__(self, columns: int, rows: int, *, begun: bool) -> None:
        """``begun``: the terminal shows earlier frames of this size, so the first one is not a new size."""
        super().__init__(NO_DESCRIPTOR)
        self._fixed_size = columns, rows
        if begun:
            self._drawn_size = self._fixed_size

    def size(self) -> tuple[int, int]:
        return self._fixed_size


class RecordedScreen(Screen):
    """A screen whose frames a recorded terminal takes."""

    def __init__(self, terminal: RecordedTerminal, signals: Signals) -> None:
        begun = terminal.beginning.real_s > 0.0
        super().__init__(
            NO_DESCRIPTOR, live=True, monotonic=terminal.time.read, on_blocked=signals.end_if_told,
            canvas=RecordedCanvas(terminal.columns, terminal.rows, begun=begun),
        )  # fmt: skip
        self._terminal = terminal

    def deliver(self, text: str) -> None:
        """Give ``text`` to the terminal."""
        self._terminal.show(text)
