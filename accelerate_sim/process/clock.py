"""The simulated clock, which all timestamps, bars, rates and telemetry read.

``speed`` is the number of simulated seconds in one real second; at infinite speed the clock never waits.
"""

import math
import time
from collections.abc import Callable
from datetime import datetime, timedelta

LATE_S = 0.5
"""Real seconds behind schedule, after a stop or behind a slow terminal, from which lost time is not made up."""


class Clock:
    """A count of simulated seconds since ``start``; ``advance_to`` waits until they have passed in real time.

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
        self._listeners: list[Callable[[float], None]] = []
        self._wait = wait
        self._monotonic = monotonic
        self.speed = speed
        self._is_chosen = self._has_changed = False
        self._rebase()

    def _rebase(self) -> None:
        self._base_s, self._base_real_s = self.now_s, self._monotonic()

    def set_speed(self, speed: float) -> None:
        """Run at another speed from now on, unless the user has chosen one."""
        if not self._is_chosen:
            self.speed = speed
        self._rebase()

    def choose_speed(self, speed: float) -> None:
        """Run at the speed that the user chooses, also in the present wait, if that is cut short."""
        if self.speed < math.inf:
            self._base_s += (self._monotonic() - self._base_real_s) * self.speed
        self._base_real_s = self._monotonic()
        self.speed, self._is_chosen, self._has_changed = speed, True, True

    def read(self) -> float:
        """Simulated seconds since the start; bars call it in place of ``time.time``."""
        return self.now_s

    def advance_to(self, second: float) -> None:
        """Let simulated time pass until ``second``; a second in the past changes nothing.

        ``now_s`` changes only after the wait, so nothing drawn meanwhile shows a later time.
        """
        second = max(second, self.now_s)
        for listener in self._listeners:
            listener(second)
        self._wait(self._ahead_s(second))
        while self._has_changed:
            self._has_changed = False
            self._wait(self._ahead_s(second))
        self.now_s = second

    def add_listener(self, on_advance: Callable[[float], None]) -> None:
        """Call ``on_advance(second)`` before each wait for ``second``."""
        self._listeners.append(on_advance)

    def _ahead_s(self, second: float) -> float:
        """Real seconds until simulated ``second``."""
        if self.speed == math.inf:
            return 0.0
        ahead_s = (second - self._base_s) / self.speed - (self._monotonic() - self._base_real_s)
        if ahead_s < -LATE_S:
            self._base_s, self._base_real_s = second, self._monotonic()
        return max(ahead_s, 0.0)

    def jump_to(self, second: float) -> None:
        """Set the clock to ``second``, earlier or later, without a wait."""
        self.now_s = second
        self._rebase()

    def advance(self, seconds: float) -> None:
        """Let this many simulated seconds pass."""
        self.advance_to(self.now_s + seconds)

    def time(self) -> datetime:
        """Simulated date and time."""
        return self.start + timedelta(seconds=self.now_s)
