"""Places of an iterated run at which faults strike."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from accelerate_sim.faults.occurrence import Occurrence

PLACES: dict[str, str] = {
    "launch": "launch", "rendezvous": "launch", "load": "load", "nccl": "nccl", "warmup": "warmup",
    "restore": "restore", "eval": "validation", "checkpoint": "checkpoint", "export": "export", "exit": "export",
}  # fmt: skip
"""Places of a run at which faults strike, by phase; a fault of any other phase strikes before the end of a step."""
START_PLACES = ("launch", "load", "nccl", "warmup")
"""Places before the training begins or goes on, in order."""


class StartupEnded(Exception):
    """A fault has ended the attempt before its first step."""


def is_here(strike: Occurrence, step: int, place: str) -> bool:
    """True if a fault strikes at this place before ``step`` is complete."""
    if place in START_PLACES:
        return PLACES.get(strike.phase) == place
    if place == "step":  # a place that the run passes without a stop is made up for before the next step
        return strike.step < step or (strike.step == step and strike.phase not in PLACES)
    return strike.step == step and PLACES.get(strike.phase) == place
