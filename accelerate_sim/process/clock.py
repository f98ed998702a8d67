"""Simulated seconds against real ones: the only place where time passes.

Timestamps, bars, rates and telemetry read the simulated clock. ``speed`` says how many simulated seconds go by in one
real second; at infinite speed nothing ever waits.
"""

import math
import time
from collections.abc import Callable
from datetime import datetime, timedelta

LATE_S = 0.5
"""Real seconds behind schedule (a stopped process, a slow terminal) from which time lost is not made up."""


class Clock:
    """Counts simulated seconds from ``start``; ``advance_to`` waits until they have really passed.

    ``wait(seconds)`` sleeps and may raise to end the run; ``monotonic`` gives real seconds. Tests pass their own.
    """

    def __init__(
        self,
        start: datetime,
        speed: float = math.inf,
        wait: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.start = start
        self.now_s = 0.0
        self.on_advance: Callable[[float], None] = lambda second: None
        """Called with the second that is waited for next."""
        self._wait = wait
        self._monotonic = monotonic
        self.speed = speed
        self._rebase()

    def _rebase(self) -> None:
        self._base_s, self._base_real_s = self.now_s, self._monotonic()

    def set_speed(self, speed: float) -> None:
        """Go on at another pace."""
        self.speed = speed
        self._rebase()

    def read(self) -> float:
        """Simulated seconds since the start; what bars use for ``time.time``."""
        return self.now_s

    def advance_to(self, second: float) -> None:
        """Let simulated time pass until ``second``; a second that has passed already changes nothing.

        Meanwhile it is still what it was: nothing that is shown during the wait comes from the future.
        """
        second = max(second, self.now_s)
        self.on_advance(second)
        self._wait(self._ahead_s(second))
        self.now_s = second

    def _ahead_s(self, second: float) -> float:
        """Real seconds until ``second``."""
        if self.speed == math.inf:
            return 0.0
        ahead_s = (second - self._base_s) / self.speed - (self._monotonic() - self._base_real_s)
        if ahead_s < -LATE_S:
            self._base_s, self._base_real_s = second, self._monotonic()
        return max(ahead_s, 0.0)

    def jump_to(self, second: float) -> None:
        """It is now ``second``, earlier or later; no time passes."""
        self.now_s = second
        self._rebase()

    def advance(self, seconds: float) -> None:
        """Let this many simulated seconds pass."""
        self.advance_to(self.now_s + seconds)

    def time(self) -> datetime:
        """Simulated date and time."""
        return self.start + timedelta(seconds=self.now_s)
