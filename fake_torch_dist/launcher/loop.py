"""The event loop of a process: descriptors, signals and timers, each with a callback. No threads, no polling."""

from __future__ import annotations

import heapq
import itertools
import os
import selectors
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

Callback = Callable[[], None]

_WAKEUP_BYTES: Final = 4096
_LONGEST_SELECT_S: Final = 3600.0
"""Longest wait of one call: epoll takes at most 2**31 milliseconds, and timers may be later."""


class Timer:
    """A callback that the loop calls later, unless it is cancelled."""

    def __init__(self, at_s: float, callback: Callback) -> None:
        self.at_s = at_s
        self.callback: Callback | None = callback

    def cancel(self) -> None:
        self.callback = None


class EventLoop:
    """Waits for events and calls their callbacks. ``run`` returns after ``stop``; a callback's exception ends it."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._tie = itertools.count()
        self._running = False
        self._on_signal: dict[int, Callable[[int], None]] = {}
        self._wakeup_fds: tuple[int, int] | None = None

    # -- descriptors --------------------------------------------------------------------------------------------------

    def on_readable(self, fd: int, callback: Callback) -> None:
        """Call ``callback`` whenever ``fd`` can be read, or its other end has closed."""
        self._selector.register(fd, selectors.EVENT_READ, callback)

    def on_writable(self, fd: int, callback: Callback) -> None:
        """Call ``callback`` whenever ``fd`` takes data, or its other end has closed."""
        self._selector.register(fd, selectors.EVENT_WRITE, callback)

    def forget(self, fd: int) -> None:
        """Stop watching ``fd``. Call it before ``fd`` is closed, and only if it is watched."""
        self._selector.unregister(fd)

    # -- time ---------------------------------------------------------------------------------------------------------

    def after(self, seconds: float, callback: Callback) -> Timer:
        """Call ``callback`` once, ``seconds`` from now."""
        return self.at(self._monotonic() + seconds, callback)

    def at(self, monotonic_s: float, callback: Callback) -> Timer:
        """Call ``callback`` once, when the monotonic clock reads ``monotonic_s``."""
        timer = Timer(monotonic_s, callback)
        heapq.heappush(self._timers, (timer.at_s, next(self._tie), timer))
        return timer

    def _timeout_s(self) -> float | None:
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        if not self._timers:
            return None
        return min(max(0.0, self._timers[0][0] - self._monotonic()), _LONGEST_SELECT_S)

    def _call_due_timers(self) -> None:
        while self._timers and self._timers[0][0] <= self._monotonic():
            callback = heapq.heappop(self._timers)[2].callback
            if callback:
                callback()

    # -- signals ------------------------------------------------------------------------------------------------------

    def on_signals(self, numbers: Iterable[int], callback: Callable[[int], None]) -> None:
        """Call ``callback(number)`` from the loop, in order of arrival. Only in the main thread."""
        if self._wakeup_fds is None:
            self._wakeup_fds = os.pipe()
            for fd in self._wakeup_fds:
                os.set_blocking(fd, False)
            signal.set_wakeup_fd(self._wakeup_fds[1], warn_on_full_buffer=False)
            self.on_readable(self._wakeup_fds[0], self._read_signals)
        for number in numbers:
            self._on_signal[number] = callback
            signal.signal(number, _do_nothing)

    @contextmanager
    def without_signals(self) -> Iterator[None]:
        """Restore the default actions of signals within the block, for processes that are forked in it."""
        signal.set_wakeup_fd(-1)
        for number in self._on_signal:
            signal.signal(number, signal.SIG_DFL)
        try:
            yield
        finally:
            if self._wakeup_fds:
                signal.set_wakeup_fd(self._wakeup_fds[1], warn_on_full_buffer=False)
            for number in self._on_signal:
                signal.signal(number, _do_nothing)

    def _read_signals(self) -> None:
        assert self._wakeup_fds is not None
        with suppress(BlockingIOError):
            for number in os.read(self._wakeup_fds[0], _WAKEUP_BYTES):
                if number in self._on_signal:
                    self._on_signal[number](number)

    # -- running ------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Call callbacks until ``stop``."""
        self._running = True
        while self._running:
            for key, _ in self._selector.select(self._timeout_s()):
                # An earlier callback of this round may have closed this one's descriptor.
                if self._selector.get_map().get(key.fd) is key:
                    key.data()
            self._call_due_timers()

    def stop(self) -> None:
        """Let ``run`` return after the callbacks of this round."""
        self._running = False


def _do_nothing(number: int, frame: object) -> None:
    """Handle a signal by no action: Python writes its number to the wakeup descriptor."""
