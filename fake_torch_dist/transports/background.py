"""The thread that continues asynchronous work while the program computes. It exists only while there is such work."""

from __future__ import annotations

import time
from _thread import allocate_lock, start_new_thread
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from fake_torch_dist.transports.driving import Driving

PAUSE_S: Final = 0.01
"""Seconds before the thread drives work that no thread waits for; most work is waited for sooner."""
_LONG_PAUSE_S: Final = 0.1
"""Seconds between two attempts to drive while another thread drives."""
_IDLE_PAUSES: Final = 5
"""Number of pauses without work after which the thread ends."""


class Background:
    """Drives when work is pending and no other thread drives.

    ``turn`` waits for messages and continues tasks; ``has_work`` returns True while work is pending that has to go on,
    and ``visits`` a number that changes whenever other threads begin work.
    """

    def __init__(
        self, driving: Driving, turn: Callable[[], None], has_work: Callable[[], bool], visits: Callable[[], int]
    ) -> None:
        self._driving = driving
        self._turn = turn
        self._has_work = has_work
        self._visits = visits
        self._lock = allocate_lock()
        self._is_there = False
        self.drives = False
        """True while it is the driver, which leaves when another thread follows and is woken."""

    def begin(self) -> None:
        """Start the thread, unless it is there; called after the work has begun."""
        with self._lock:
            if self._is_there:
                return
            self._is_there = True
        try:
            start_new_thread(self._run, ())
        except RuntimeError:  # no thread can start, or the interpreter ends: work goes on when a thread waits for it
            self._is_there = False

    def _run(self) -> None:
        idle, pause_s = 0, PAUSE_S
        while True:
            visits = self._visits()
            time.sleep(pause_s)
            pause_s = PAUSE_S
            with self._lock:
                idle = 0 if self._has_work() else idle + 1
                if idle > _IDLE_PAUSES:
                    self._is_there = False
                    return
            if idle or self._visits() != visits:
                continue
            if self._driving.take(False):
                self._drive()
            else:
                pause_s = _LONG_PAUSE_S

    def _drive(self) -> None:
        self.drives = True
        try:
            while self._has_work() and not self._driving.followers:
                self._turn()
        finally:
            self.drives = False
            self._driving.leave()
            self._driving.pass_on()
