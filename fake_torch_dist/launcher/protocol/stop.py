"""The order to end all ranks of a job: within a launcher, and as a message between its nodes."""

from __future__ import annotations

from dataclasses import dataclass
from signal import SIGKILL
from typing import ClassVar

from fake_torch_dist.launcher.protocol.codec import WireMessage


@dataclass(frozen=True, slots=True)
class StopJob(WireMessage):
    """End all ranks of the job, on every node."""

    kind: ClassVar[str] = "stop"
    signal: int
    """Signal for every rank."""
    grace_s: float
    """Time between the signal and SIGKILL."""
    reason: str
    """Cause, with the host where it happened."""
    final: bool = False
    """The job is not restarted."""
    regroup: bool = False
    """The ranks start again in a larger world, so their end is no failure."""

    @property
    def at_once(self) -> bool:
        """True if the ranks are killed without any grace."""
        return self.signal == SIGKILL
