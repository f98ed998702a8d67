"""Why and how all ranks of a job end, wherever they run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from signal import SIGKILL
from typing import Any


@dataclass(frozen=True, slots=True)
class Stop:
    """An order to end the ranks; it goes to every node."""

    signal: int
    """For every rank."""
    grace_s: float
    """Until SIGKILL."""
    reason: str
    """What happened, and on which host."""
    final: bool = False
    """No restart after it."""
    regroup: bool = False
    """The ranks start again in a larger world: that they end is no failure."""

    @property
    def at_once(self) -> bool:
        """Nobody waits for anything any more."""
        return self.signal == SIGKILL

    def fields(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"signal": int(self.signal)}
