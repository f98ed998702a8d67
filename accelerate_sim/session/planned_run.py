"""``PlannedRun``: the run that the training function is about to begin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accelerate_sim.checkpoints.resume import Resumption
    from accelerate_sim.sim.plan import Plan


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """The plan of a run, and the state that it continues from; without one it begins at its first step."""

    plan: Plan
    resumption: Resumption | None = None
    own_script: bool = False
    """True for the run of a user's own script, which follows no config."""
    faults: Any = None
    """The ``AttemptPlay`` whose run is the plan; None for a run without faults."""
