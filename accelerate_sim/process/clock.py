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
        self.factor = 1.0
        """Factor by which the clock is faster than the run asks for."""
        self.override: float | None = None
        """Speed in place of the one that the run asks for; None: the run's."""
        self.hurrying = False
        """True while the clock never waits, whatever speed the run asks for."""
        self._fast_until_s = -math.inf
        """Simulated second up to which the clock never waits."""
        self._target_s = 0.0
        """Simulated second that the present wait ends at."""
        self._repaced = False
        self._listeners: list[Callable[[float], None]] = []
        self._wait = wait
        self._monotonic = monotonic
        self.speed = self.asked_speed = speed
        self._rebase()

    def _rebase(self) -> None:
        self._base_s, self._base_real_s = self.now_s, self._monotonic()

    def set_speed(self, speed: float) -> None:
        """Run at another speed from now on, times ``factor``."""
        self.asked_speed = speed
        self.speed = self._effective_speed()
        self._rebase()

    def _effective_speed(self) -> float:
        if self.hurrying:
            return math.inf
        return (self.asked_speed if self.override is None else self.override) * self.factor

    def steer(self, *, factor: float = 1.0, override: float | None = None) -> None:
        """Set the factor and the override, also in the middle of a wait; ``wait`` must then be cut short."""
        reached_s = self.reached_s()
        self.factor, self.override = factor, override
        self._repace(reached_s)

    def hurry(self, hurrying: bool) -> None:
        """Set ``hurrying``, also in the middle of a wait; ``wait`` must then be cut short."""
        reached_s = self.reached_s()
        self.hurrying = hurrying
        self._repace(reached_s)

    def hurry_until(self, second: float) -> None:
        """Never wait before a simulated second."""
        self._fast_until_s = second

    def _repace(self, reached_s: float) -> None:
        self.speed = self._effective_speed()
        self._base_s, self._base_real_s = reached_s, self._monotonic()
        self._repaced = True

    def reached_s(self) -> float:
        """Simulated second that is reached within the present wait; ``now_s`` outside of one."""
        if self.speed == math.inf:
            return self.now_s
        reached_s = self._base_s + (self._monotonic() - self._base_real_s) * self.speed
        return max(self.now_s, min(reached_s, self._target_s))

    def read(self) -> float:
        """Simulated seconds since the start; bars call it in place of ``time.time``."""
        return self.now_s

    def advance_to(self, second: float) -> None:
        """Let simulated time pass until ``second``; a second in the past changes nothing.

        ``now_s`` changes only after the wait, so nothing drawn meanwhile shows a later time.
        """
        second = max(second, self.now_s)
        self._target_s = second
        self._repaced = False
        self._wait_for(second)
        while self._repaced:
            self._repaced = False
            self._wait_for(second)
        self.now_s = second

    def _wait_for(self, second: float) -> None:
        for listener in self._listeners:
            listener(second)
        self._wait(self._ahead_s(second))

    def add_listener(self, on_advance: Callable[[float], None]) -> None:
        """Call ``on_advance(second)`` before each wait for ``second``."""
        self._listeners.append(on_advance)

    def _ahead_s(self, second: float) -> float:
        """Real seconds until simulated ``second``."""
        if self.speed == math.inf:
            return 0.0
        if self.now_s < self._fast_until_s:
            if second <= self._fast_until_s:
                return 0.0
            self._base_s, self._base_real_s = self._fast_until_s, self._monotonic()
            self._fast_until_s = -math.inf
        ahead_s = (second - self._base_s) / self.speed - (self._monotonic() - self._base_real_s)
        if ahead_s < -LATE_S:
            self._base_s, self._base_real_s = second, self._monotonic()
        return max(ahead_s, 0.0)

    def jump_to(self, second: float) -> None:
        """Set the clock to ``second``, earlier or later, without a wait."""
        self.now_s = self._target_s = second
        self._rebase()

    def advance(self, seconds: float) -> None:
        """Let this many simulated seconds pass."""
        self.advance_to(self.now_s + seconds)

    def time(self) -> datetime:
        """Simulated date and time."""
        return self.start + timedelta(seconds=self.now_s)
