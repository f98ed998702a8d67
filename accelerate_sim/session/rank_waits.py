"""``RankWaits``: the waits of a process for other ranks, during which it serves its exporter.

Rank 0 waits for the clock. The clock of every other rank is ahead of it, by a step at most, while it waits for rank 0
in a collective; so the moment that rank 0 has reached is computed from the speed and the time of that wait.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from fake_torch_dist.transports import program_wait

if TYPE_CHECKING:
    from accelerate_sim.process.clock import Clock
    from accelerate_sim.process.signals import Signals

STALLED_S: Final = 10.0
"""Real seconds that a wait may last beyond its time before the job counts as stalled."""
_SLOWER: Final = 2.0
"""Factor by which rank 0 may be slower than its clock's speed, as keys can make it."""


class RankWaits:
    """Serves the descriptors of ``signals`` while this process waits for other ranks, until ``end``."""

    def __init__(
        self, signals: Signals, clock: Clock, *, follows: bool, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """``follows``: rank 0 is another process, whose clock waits."""
        self._signals, self._clock, self._follows, self._monotonic = signals, clock, follows, monotonic
        self._advanced_s = self._takes_s = 0.0
        """Simulated seconds that have passed here since the latest wait began, and real ones that rank 0 takes."""
        self._ahead_s = self._due_s = 0.0
        """The same, of rank 0, when the latest wait began."""
        self._since_s = monotonic()
        """Real second at which the latest wait began."""
        self._is_waiting = False
        self._stopped_at_s: float | None = None
        """Simulated second at which the attempt has ended, while its processes are still there; None before."""
        clock.add_listener(self._advance)
        program_wait.wait_by(self.wait)

    def stop_at(self, second: float) -> None:
        """Let the job have reached ``second`` from now on: the end of its attempt."""
        self._stopped_at_s = second

    def end(self) -> None:
        """Serve no longer."""
        program_wait.wait_by(None)

    def wait(self, fd: int, seconds: float) -> None:
        """Wait until ``fd`` can be read, at most so many real seconds, and serve meanwhile."""
        if self._advanced_s:
            if self._follows:
                self._ahead_s, self._due_s = self._advanced_s, self._takes_s
            self._advanced_s = self._takes_s = 0.0
            self._since_s = self._monotonic()
        self._is_waiting = True
        try:
            self._signals.wait_for(fd, seconds)
        finally:
            self._is_waiting = False

    @property
    def reached_s(self) -> float:
        """Simulated second that the job has reached."""
        if self._stopped_at_s is not None:
            return self._stopped_at_s
        left = max(0.0, 1.0 - (self._monotonic() - self._since_s) / self._due_s) if self._due_s else 1.0
        return self._clock.now_s - self._ahead_s * left

    @property
    def late_s(self) -> float:
        """Real seconds by which the present wait lasts longer than it should; 0 without one."""
        if not self._is_waiting:
            return 0.0
        return max(0.0, self._monotonic() - self._since_s - _SLOWER * self._due_s)

    def _advance(self, second: float) -> None:
        seconds = second - self._clock.now_s
        self._advanced_s += seconds
        self._takes_s += seconds / self._clock.speed
