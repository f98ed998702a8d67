"""Signals, handled at safe points, so that a run ends between two steps and never in the middle of a line.

The Python handlers only record the number. ``wait``, which every pause of the clock calls, and ``poll`` act on it:
Ctrl-C and SIGTERM raise ``Stopped``; Ctrl-Z tells the listeners, which clear the live lines, before the process stops;
a resize and ``fg`` tell them to draw again; SIGUSR2 holds the waits, or releases them. Three signals do not wait for a
safe point: a second Ctrl-C, one before the
first pause, while modules are still being imported, and any ending signal inside ``at_once``, while this process waits
for other ranks. SIGUSR1, which Slurm can send before it takes a node away, ends a run as SIGTERM does.
"""

import math
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

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


class Signals:
    """The process's signal handlers, installed while it is entered.

    In another thread than the main one, as of Ray Train or a notebook, signals are left alone, as Python requires.

    Signals that are ignored on entry, as under ``nohup``, stay ignored. ``monotonic`` gives real seconds, and
    ``deadline`` the real second at which the session ends with exit code 0; None: never.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, deadline: float | None = None) -> None:
        self.deadline = deadline
        self._before_waiting: list[Callable[[float], None]] = []
        self._on_pause: list[Callable[[], None]] = []
        self._on_redraw: list[Callable[[], None]] = []
        self._on_hold: list[Callable[[], None]] = []
        self._on_release: list[Callable[[], None]] = []
        self._held_since_s: float | None = None
        """Real second at which waits began to be held; None: they are not."""
        self._cut = False
        self._monotonic = monotonic
        self._stopped_s = 0.0
        self._pending: list[int] = []
        self._ending = False
        self._starting = False
        self._at_once = False
        self._takes_signals = True
        self._previous: dict[int, object] = {}
        self._poller = select.poll()
        self._wakeup = -1
        """Descriptor that can be read after a signal; -1 while the handlers are not installed."""
        self._hang_ups: dict[int, Callable[[], None]] = {}
        self._serving: dict[int, Callable[[], None]] = {}
        self._alarms: dict[Callable[[], None], float] = {}
        self._next_look_s = -math.inf

    def __enter__(self) -> "Signals":
        # Python writes a byte here when a signal arrives, so that one between a check and the sleep ends the sleep.
        self._wakeup, self._wakeup_writer = os.pipe()
        for end in (self._wakeup, self._wakeup_writer):
            os.set_blocking(end, False)
        self._poller.register(self._wakeup, select.POLLIN)
        try:
            self._previous_wakeup_fd = signal.set_wakeup_fd(self._wakeup_writer, warn_on_full_buffer=False)
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
            # After an ending signal nothing is left to clean up, so the next Ctrl-C takes the default action.
            signal.signal(number, signal.SIG_DFL if self._ending and number in ENDING else handler)  # type: ignore[arg-type]
        if self._takes_signals:
            signal.set_wakeup_fd(self._previous_wakeup_fd)
        self._poller.unregister(self._wakeup)
        os.close(self._wakeup)
        os.close(self._wakeup_writer)
        self._wakeup = -1

    def add_listener(
        self,
        *,
        before_waiting: Callable[[float], None] | None = None,
        on_pause: Callable[[], None] | None = None,
        on_redraw: Callable[[], None] | None = None,
        on_hold: Callable[[], None] | None = None,
        on_release: Callable[[], None] | None = None,
    ) -> None:
        """Add functions that are called, in the order added, at the moments that their names say.

        ``before_waiting(seconds)`` comes before each wait, ``on_pause()`` before Ctrl-Z stops the process, and
        ``on_redraw()`` after it continues or its terminal is resized. ``on_hold()`` and ``on_release()`` come after
        waits begin and cease to be held.
        """
        self._on_hold += [on_hold] if on_hold else []
        self._on_release += [on_release] if on_release else []
        self._before_waiting += [before_waiting] if before_waiting else []
        self._on_pause += [on_pause] if on_pause else []
        self._on_redraw += [on_redraw] if on_redraw else []

    def watch(self, fd: int, on_hang_up: Callable[[], None]) -> None:
        """Call ``on_hang_up`` during a wait when the reader of ``fd`` has closed it."""
        self._hang_ups[fd] = on_hang_up
        self._poller.register(fd, 0)

    def serve(self, fd: int, events: int, on_ready: Callable[[], None]) -> None:
        """Call ``on_ready`` between steps and during waits when ``fd`` has one of poll's ``events``."""
        self._serving[fd] = on_ready
        self._poller.register(fd, events)

    def dismiss(self, fd: int) -> None:
        """Stop serving ``fd``, which is still open."""
        del self._serving[fd]
        self._poller.unregister(fd)

    def call_at(self, monotonic_s: float | None, on_alarm: Callable[[], None]) -> None:
        """Call ``on_alarm`` once, between steps or during a wait, at this real second; None: never.

        There is one alarm for each function: a later call replaces an earlier one.
        """
        self._alarms.pop(on_alarm, None)
        if monotonic_s is not None:
            self._alarms[on_alarm] = monotonic_s

    def call_in(self, seconds: float, on_alarm: Callable[[], None]) -> None:
        """Call ``on_alarm`` once, so many real seconds from now; see ``call_at``."""
        self.call_at(self._monotonic() + seconds, on_alarm)

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
            for listener in self._on_hold:
                listener()

    def release(self) -> None:
        """Let waits go on with the time that was left to them."""
        if self._held_since_s is not None:
            self._stopped_s += self._monotonic() - self._held_since_s
            self._held_since_s = None
            for listener in self._on_release:
                listener()

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

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Let an ending signal raise ``Stopped`` anywhere in the block, for calls that block without polling."""
        before, self._at_once = self._at_once, True
        try:
            self.end_if_told()
            yield
        finally:
            self._at_once = before

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
                self.tell_redraw()
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

    def tell_pause(self) -> None:
        """Tell the listeners that the process is about to be stopped."""
        for listener in self._on_pause:
            listener()

    def tell_redraw(self) -> None:
        """Tell the listeners that the process goes on, or that its terminal has another size."""
        for listener in self._on_redraw:
            listener()

    def _pause(self, number: int) -> None:
        self.tell_pause()
        signal.signal(number, signal.SIG_DFL)
        begin_s = self._monotonic()
        os.kill(os.getpid(), number)  # the process stops here, and returns from the call after SIGCONT
        if self._held_since_s is None:
            self._stopped_s += self._monotonic() - begin_s
        signal.signal(number, self._note)
        self.tell_redraw()

    def begin_waiting(self, seconds: float) -> None:
        """Tell the listeners of a wait; from the first one on, ending signals are handled at safe points only."""
        self._starting = False
        for listener in self._before_waiting:
            listener(seconds)

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

    def wait_for(self, fd: int, seconds: float) -> None:
        """Sleep until ``fd`` can be read, at most so many real seconds; may return earlier.

        Descriptors are served meanwhile. No listener is told, and signals stay pending.
        """
        self._poller.register(fd, select.POLLIN)
        try:
            self._sleep(seconds)
        finally:
            self._poller.unregister(fd)

    def serve_for(self, seconds: float) -> None:
        """Serve descriptors for so many real seconds. No listener is told, and signals stay pending."""
        until_s = self._monotonic() + seconds
        while (left_s := until_s - self._monotonic()) > 0:
            self._sleep(left_s)

    def _look(self) -> None:
        """Serve ready descriptors; if none is ready, the next poll comes LOOK_EVERY_S later."""
        self._next_look_s = self._monotonic() + (0.0 if self._sleep(0.0) else LOOK_EVERY_S)

    def _sleep(self, seconds: float) -> bool:
        """Sleep once; True if a descriptor was ready before the time was over."""
        if self._alarms:
            seconds = min(seconds, min(self._alarms.values()) - self._monotonic())
        events = self._poller.poll(None if seconds == math.inf else max(seconds, 0.0) * 1000.0)
        for fd, _ in events:
            if fd in self._serving:
                self._serving[fd]()
            elif fd in self._hang_ups:
                self._hang_ups[fd]()
            elif fd == self._wakeup:
                self._drain()
        if self._alarms:
            now_s = self._monotonic()
            for on_alarm in [each for each, at_s in self._alarms.items() if now_s >= at_s]:
                del self._alarms[on_alarm]
                on_alarm()
        return bool(events)

    def _drain(self) -> None:
        try:
            while os.read(self._wakeup, 64):
                pass
        except BlockingIOError:
            pass


def _stopped_by(number: int) -> Stopped:
    if number in PREEMPTING:
        return Stopped("terminated", 128 + signal.SIGTERM, preempted=True)
    return Stopped("interrupted" if number == signal.SIGINT else "terminated", 128 + number)
