"""``Poller``: sleeps while it serves descriptors and alarms."""

import math
import os
import select
import time
from collections.abc import Callable


class Poller:
    """Sleeps until a descriptor is ready or an alarm is due. ``monotonic`` gives real seconds."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._poller = select.poll()
        self._wakeup = self._wakeup_writer = -1
        """Ends of the pipe whose bytes end a sleep; -1 while there is none."""
        self._hang_ups: dict[int, Callable[[], None]] = {}
        self._serving: dict[int, Callable[[], None]] = {}
        self._alarms: dict[Callable[[], None], float] = {}

    def _open_wakeup(self) -> int:
        """Make the pipe whose bytes end a sleep, and return the end to write them to."""
        self._wakeup, self._wakeup_writer = os.pipe()
        for end in (self._wakeup, self._wakeup_writer):
            os.set_blocking(end, False)
        self._poller.register(self._wakeup, select.POLLIN)
        return self._wakeup_writer

    def _close_wakeup(self) -> None:
        self._poller.unregister(self._wakeup)
        os.close(self._wakeup)
        os.close(self._wakeup_writer)
        self._wakeup = self._wakeup_writer = -1

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
