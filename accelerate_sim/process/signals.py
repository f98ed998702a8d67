"""Signals, handled at safe points, so that a run ends between two steps and never in the middle of a line.

The Python handlers only record the number. ``wait``, which every pause of the clock calls, and ``poll`` act on it:
Ctrl-C and SIGTERM raise ``Stopped``; Ctrl-Z tells the listeners, which clear the live lines, before the process stops;
a resize and ``fg`` tell them to draw again; SIGUSR2 holds the waits, or releases them. Three signals do not wait for a
safe point: a second Ctrl-C, one before the first pause, while modules are still being imported, and any ending signal
inside ``at_once``, while this process waits for other ranks. SIGUSR1, which Slurm can send before it takes a node away,
ends a run as SIGTERM does.
"""

import math
import os
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import FrameType, TracebackType
from typing import Any

from accelerate_sim.process.listeners import Listeners
from accelerate_sim.process.poller import Poller

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name))
PREEMPTING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name))
REDRAWING = tuple(getattr(signal, name) for name in ("SIGWINCH", "SIGCONT") if hasattr(signal, name))
PAUSING = tuple(getattr(signal, name) for name in ("SIGTSTP",) if hasattr(signal, name))
HOLDING = tuple(getattr(signal, name) for name in ("SIGUSR2",) if hasattr(signal, name))

SIGPIPE_EXIT = 128 + 13
"""Exit code of a process whose standard output has no reader, as a shell reports SIGPIPE."""
LOOK_EVERY_S = 0.002
"""Real seconds between two polls of the served descriptors while the clock does not wait."""


class Stopped(BaseException):
    """Raised to end the session. It is no ``Exception``, so that a script that catches errors does not catch it."""

    def __init__(self, reason: str, exit_code: int, *, preempted: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.exit_code = exit_code
        self.preempted = preempted
        """True after SIGTERM or SIGUSR1: the machines are needed elsewhere, so the run saves a checkpoint first."""


class _AtOnce:
    """The context of ``Signals.at_once``. Every step of a run enters one, so it is no generator."""

    __slots__ = ("_before", "_signals")

    def __init__(self, signals: "Signals") -> None:
        self._signals = signals

    def __enter__(self) -> None:
        self._before, self._signals._at_once = self._signals._at_once, True
        try:
            self._signals.end_if_told()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *error: object) -> None:
        self._signals._at_once = self._before


class Signals(Poller):
    """The process's signal handlers, installed while it is entered.

    In another thread than the main one, as of Ray Train or a notebook, signals are left alone, as Python requires.

    Signals that are ignored on entry, as under ``nohup``, stay ignored. ``monotonic`` gives real seconds, and
    ``deadline`` the real second at which the session ends with exit code 0; None: never.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, deadline: float | None = None) -> None:
        super().__init__(monotonic)
        self.deadline = deadline
        self.listeners = Listeners()
        self._held_since_s: float | None = None
        """Real second at which waits began to be held; None: they are not."""
        self._cut = False
        self._stopped_s = 0.0
        self._pending: list[int] = []
        self._ending = False
        self._starting = False
        self._at_once = False
        self._takes_signals = True
        self._previous: dict[int, Callable[[int, FrameType | None], Any] | int | None] = {}
        self._next_look_s = -math.inf

    def __enter__(self) -> "Signals":
        # Python writes a byte here when a signal arrives, so that one between a check and the sleep ends the sleep.
        wakeup = self._open_wakeup()
        try:
            self._previous_wakeup_fd = signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        except ValueError:  # not the main thread: the signals are another one's
            self._takes_signals = False
        for number in (*ENDING, *REDRAWING, *PAUSING, *HOLDING) if self._takes_signals else ():
            if signal.getsignal(number) != signal.SIG_IGN:
                self._previous[number] = signal.signal(number, self._note)
        self._starting = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            if signal.getsignal(number) == signal.SIG_IGN:  # for good: this process is ending in its own way
                continue
            # After an ending signal nothing is left to clean up, so the next Ctrl-C takes the default action.
            signal.signal(number, signal.SIG_DFL if self._ending and number in ENDING else handler)
        if self._takes_signals:
            signal.set_wakeup_fd(self._previous_wakeup_fd)
        self._close_wakeup()

    def awake_s(self) -> float:
        """Real seconds, those while Ctrl-Z stopped the process or waits were held not counted."""
        return (self._monotonic() if self._held_since_s is None else self._held_since_s) - self._stopped_s

    @property
    def is_held(self) -> bool:
        """True while no wait ends."""
        return self._held_since_s is not None

    def hold(self) -> None:
        """Let no wait end until ``release``; signals and served descriptors are acted on meanwhile."""
        if self._held_since_s is None:
            self._held_since_s = self._monotonic()
            self.listeners.tell_hold()

    def release(self) -> None:
        """Let waits go on with the time that was left to them."""
        if self._held_since_s is not None:
            self._stopped_s += self._monotonic() - self._held_since_s
            self._held_since_s = None
            self.listeners.tell_release()

    def toggle(self) -> None:
        """Hold waits, or release them."""
        if self.is_held:
            self.release()
        else:
            self.hold()

    def cut(self) -> None:
        """End the present wait before its time."""
        self._cut = True

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self._ending:
            raise KeyboardInterrupt  # the second Ctrl-C does not wait for a safe point
        self._ending = self._ending or number in ENDING
        self._pending.append(number)
        if (self._starting or self._at_once) and number in ENDING:
            raise _stopped_by(number)  # it stays pending as well, because an import may swallow the exception

    def at_once(self) -> AbstractContextManager[None]:
        """Let an ending signal raise ``Stopped`` anywhere in the block, for calls that block without polling."""
        return _AtOnce(self)

    def poll(self) -> None:
        """Act on the signals that have arrived. Raises ``Stopped``."""
        self.end_if_told()
        while self._pending:
            number = self._pending.pop(0)
            if number in PAUSING:
                self._pause(number)
            elif number in HOLDING:
                self.toggle()
            else:
                self.listeners.tell_redraw()
            self.end_if_told()

    def end_if_told(self) -> None:
        """Raise ``Stopped`` after an ending signal or the deadline; other signals stay pending."""
        for number in self._pending:
            if number in ENDING:
                self._pending.clear()
                raise _stopped_by(number)
        if self.deadline is not None and self._monotonic() >= self.deadline:
            self._ending = True
            raise Stopped("time is up", 0)

    def _pause(self, number: int) -> None:
        self.listeners.tell_pause()
        signal.signal(number, signal.SIG_DFL)
        begin_s = self._monotonic()
        os.kill(os.getpid(), number)  # the process stops here, and returns from the call after SIGCONT
        if self._held_since_s is None:
            self._stopped_s += self._monotonic() - begin_s
        signal.signal(number, self._note)
        self.listeners.tell_redraw()

    def begin_waiting(self, seconds: float) -> None:
        """Tell the listeners of a wait; from the first one on, ending signals are handled at safe points only."""
        self._starting = False
        self.listeners.tell_wait(seconds)

    def wait(self, seconds: float) -> None:
        """Sleep for so many real seconds, and act on signals meanwhile. Raises ``Stopped``."""
        self.begin_waiting(math.inf if self.is_held else seconds)
        if seconds <= 0.0:
            if self._serving and self._monotonic() >= self._next_look_s:
                self._look()
            if self._pending or self.deadline is not None:
                self.poll()
            if not self.is_held:
                return
        self._cut = False
        until = self.awake_s() + seconds
        self.poll()
        while not self._cut and (left := math.inf if self.is_held else until - self.awake_s()) > 0:
            if self.deadline is not None:
                left = min(left, self.deadline - self._monotonic())
            self._sleep(left)
            self.poll()

    def _look(self) -> None:
        """Serve ready descriptors; if none is ready, the next poll comes LOOK_EVERY_S later."""
        self._next_look_s = self._monotonic() + (0.0 if self._sleep(0.0) else LOOK_EVERY_S)


def _stopped_by(number: int) -> Stopped:
    if number in PREEMPTING:
        return Stopped("terminated", 128 + signal.SIGTERM, preempted=True)
    return Stopped("interrupted" if number == signal.SIGINT else "terminated", 128 + number)
