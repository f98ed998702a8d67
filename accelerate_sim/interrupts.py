"""Signals, taken at safe points: a run ends between two steps, never in the middle of a line.

Handlers only take a note. ``wait`` (every pause of the clock) and ``poll`` act on it: Ctrl-C and SIGTERM raise
``Stopped``, Ctrl-Z clears the live lines before the process stops, a resize and ``fg`` draw them anew. A second Ctrl-C
does not wait for a safe point.
"""

import os
import select
import signal
import socket
import time
from collections.abc import Callable
from types import FrameType, TracebackType

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
REDRAWING = tuple(getattr(signal, name) for name in ("SIGWINCH", "SIGCONT") if hasattr(signal, name))
PAUSING = tuple(getattr(signal, name) for name in ("SIGTSTP",) if hasattr(signal, name))


class Stopped(BaseException):
    """The run is to end now. Not an ``Exception``: a script that survives errors does not survive this."""

    def __init__(self, reason: str, exit_code: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.exit_code = exit_code


class Interrupts:
    """Takes over the process's signals while it is entered; only in the main thread, which Python insists on."""

    def __init__(self) -> None:
        self.before_waiting: Callable[[], None] = lambda: None
        self.on_pause: Callable[[], None] = lambda: None
        self.on_redraw: Callable[[], None] = lambda: None
        self.deadline: float | None = None
        """Monotonic time at which the session ends by itself."""
        self._pending: list[int] = []
        self._previous: dict[int, object] = {}
        # Python writes a byte here when a signal arrives, so that a select() between check and sleep wakes up too.
        self._wakeup, self._wakeup_writer = socket.socketpair()

    def __enter__(self) -> "Interrupts":
        for end in (self._wakeup, self._wakeup_writer):
            end.setblocking(False)
        self._previous_wakeup_fd = signal.set_wakeup_fd(self._wakeup_writer.fileno(), warn_on_full_buffer=False)
        for number in (*ENDING, *REDRAWING, *PAUSING):
            self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        signal.set_wakeup_fd(self._previous_wakeup_fd)
        self._wakeup.close()
        self._wakeup_writer.close()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and number in self._pending:
            raise KeyboardInterrupt  # the first one has not been taken yet, and the user means it
        self._pending.append(number)

    def poll(self) -> None:
        """Act on what has arrived. Raises ``Stopped``."""
        if self.deadline is not None and time.monotonic() >= self.deadline:
            raise Stopped("time is up", 0)
        while self._pending:
            number = self._pending.pop(0)
            if number in ENDING:
                raise Stopped("interrupted" if number == signal.SIGINT else "terminated", 128 + number)
            if number in PAUSING:
                self._pause(number)
            else:
                self.on_redraw()

    def _pause(self, number: int) -> None:
        self.on_pause()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)  # stops here; goes on at SIGCONT
        signal.signal(number, self._note)
        self.on_redraw()

    def wait(self, seconds: float) -> None:
        """Sleep, waking for signals. Raises ``Stopped``."""
        if seconds <= 0.0:
            if self._pending or self.deadline is not None:
                self.poll()
            return
        self.before_waiting()
        until = time.monotonic() + seconds
        if self.deadline is not None:
            until = min(until, self.deadline)
        self.poll()
        while (left := until - time.monotonic()) > 0:
            if select.select([self._wakeup], [], [], left)[0]:
                self._drain()
            self.poll()
        self.poll()

    def _drain(self) -> None:
        try:
            while self._wakeup.recv(64):
                pass
        except BlockingIOError:
            pass
