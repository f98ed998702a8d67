"""Signals, taken at safe points: a run ends between two steps, never in the middle of a line.

Handlers only take a note. ``wait`` (every pause of the clock) and ``poll`` act on it: Ctrl-C and SIGTERM raise
``Stopped``, Ctrl-Z clears the live lines before the process stops, a resize and ``fg`` draw them anew. Neither a second
Ctrl-C nor one before the first pause, when modules are still being imported, waits for a safe point, nor does any
while other ranks are waited for (``at_once``). SIGUSR1, which Slurm can be told to send before it takes a node away,
ends a run as SIGTERM does.
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

LOOK_EVERY_S = 0.002
"""Real seconds between two looks for somebody to serve, while nothing is waited for."""


class Stopped(BaseException):
    """The run is to end now. Not an ``Exception``: a script that survives errors does not survive this."""

    def __init__(self, reason: str, exit_code: int, *, preempted: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.exit_code = exit_code
        self.preempted = preempted
        """Somebody needs the machines: what has been done is to be saved."""


class Signals:
    """Takes over the process's signals while it is entered; only in the main thread, which Python insists on.

    Signals that are ignored when it is entered (``nohup``) stay so. ``monotonic`` gives real seconds.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.before_waiting: Callable[[float], None] = lambda seconds: None
        self.on_pause: Callable[[], None] = lambda: None
        self.on_redraw: Callable[[], None] = lambda: None
        self.deadline: float | None = None
        """Monotonic time at which the session ends by itself."""
        self._monotonic = monotonic
        self._stopped_s = 0.0
        self._pending: list[int] = []
        self._ending = False
        self._starting = False
        self._at_once = False
        self._previous: dict[int, object] = {}
        self._poller = select.poll()
        self._hang_ups: dict[int, Callable[[], None]] = {}
        self._serving: dict[int, Callable[[], None]] = {}
        self._alarm_s = math.inf
        self._on_alarm: Callable[[], None] = lambda: None
        self._next_look_s = -math.inf

    def __enter__(self) -> "Signals":
        # Python writes a byte here when a signal arrives, so that one between a check and the sleep ends the sleep.
        self._wakeup, self._wakeup_writer = os.pipe()
        for end in (self._wakeup, self._wakeup_writer):
            os.set_blocking(end, False)
        self._poller.register(self._wakeup, select.POLLIN)
        self._previous_wakeup_fd = signal.set_wakeup_fd(self._wakeup_writer, warn_on_full_buffer=False)
        for number in (*ENDING, *REDRAWING, *PAUSING):
            if signal.getsignal(number) != signal.SIG_IGN:
                self._previous[number] = signal.signal(number, self._note)
        self._starting = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            # Who has been told to end has nothing left to tidy up: another Ctrl-C now ends it without a word.
            signal.signal(number, signal.SIG_DFL if self._ending and number in ENDING else handler)  # type: ignore[arg-type]
        signal.set_wakeup_fd(self._previous_wakeup_fd)
        self._poller.unregister(self._wakeup)
        os.close(self._wakeup)
        os.close(self._wakeup_writer)

    def watch(self, fd: int, on_hang_up: Callable[[], None]) -> None:
        """Call ``on_hang_up`` while waiting, when nobody reads ``fd`` any more."""
        self._hang_ups[fd] = on_hang_up
        self._poller.register(fd, 0)

    def serve(self, fd: int, events: int, on_ready: Callable[[], None]) -> None:
        """Call ``on_ready`` between steps and while waiting, when ``fd`` has one of poll's ``events``."""
        self._serving[fd] = on_ready
        self._poller.register(fd, events)

    def dismiss(self, fd: int) -> None:
        """Do not serve ``fd`` any more; it is still open."""
        del self._serving[fd]
        self._poller.unregister(fd)

    def call_at(self, monotonic_s: float | None, on_alarm: Callable[[], None]) -> None:
        """Call ``on_alarm`` once, between steps or while waiting, at this real second; None: never.

        A later call takes the place of an earlier one.
        """
        self._alarm_s = math.inf if monotonic_s is None else monotonic_s
        self._on_alarm = on_alarm

    def awake_s(self) -> float:
        """Real seconds, without those for which Ctrl-Z stopped the process."""
        return self._monotonic() - self._stopped_s

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self._ending:
            raise KeyboardInterrupt  # the user means it
        self._ending = self._ending or number in ENDING
        self._pending.append(number)
        if (self._starting or self._at_once) and number in ENDING:
            raise _stopped_by(number)  # it stays noted: an import may lose the exception

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Until the block ends a signal raises ``Stopped`` wherever it finds it: what is waited for never polls."""
        before, self._at_once = self._at_once, True
        try:
            self.end_if_told()
            yield
        finally:
            self._at_once = before

    def poll(self) -> None:
        """Act on what has arrived. Raises ``Stopped``."""
        self.end_if_told()
        while self._pending:
            number = self._pending.pop(0)
            if number in PAUSING:
                self._pause(number)
            else:
                self.on_redraw()
            self.end_if_told()

    def end_if_told(self) -> None:
        """Raise ``Stopped`` if a signal or the deadline says so; anything else waits."""
        for number in self._pending:
            if number in ENDING:
                self._pending.clear()
                raise _stopped_by(number)
        if self.deadline is not None and self._monotonic() >= self.deadline:
            self._ending = True
            raise Stopped("time is up", 0)

    def _pause(self, number: int) -> None:
        self.on_pause()
        signal.signal(number, signal.SIG_DFL)
        begin_s = self._monotonic()
        os.kill(os.getpid(), number)  # stops here; goes on at SIGCONT
        self._stopped_s += self._monotonic() - begin_s
        signal.signal(number, self._note)
        self.on_redraw()

    def wait(self, seconds: float) -> None:
        """Sleep, waking for signals. Raises ``Stopped``."""
        self._starting = False
        self.before_waiting(seconds)
        if seconds <= 0.0:
            if self._serving and self._monotonic() >= self._next_look_s:
                self._look()
            if self._pending or self.deadline is not None:
                self.poll()
            return
        until = self.awake_s() + seconds
        self.poll()
        while (left := until - self.awake_s()) > 0:
            if self.deadline is not None:
                left = min(left, self.deadline - self._monotonic())
            self._sleep(left)
            self.poll()

    def _look(self) -> None:
        """Serve whoever is there; where nobody is, there is another look only after a while."""
        self._next_look_s = self._monotonic() + (0.0 if self._sleep(0.0) else LOOK_EVERY_S)

    def _sleep(self, seconds: float) -> bool:
        """Whether something has happened."""
        if self._alarm_s < math.inf:
            seconds = min(seconds, self._alarm_s - self._monotonic())
        events = self._poller.poll(max(seconds, 0.0) * 1000.0)
        for fd, _ in events:
            if fd in self._serving:
                self._serving[fd]()
            elif fd in self._hang_ups:
                self._hang_ups[fd]()
            else:
                self._drain()
        if self._monotonic() >= self._alarm_s:
            self._alarm_s = math.inf
            self._on_alarm()
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
