"""Restarts that a job may have: those of the config, or under a launcher those that it has not used."""

from __future__ import annotations

import os

from accelerate_sim.config.schema import RunConfig
from accelerate_sim.process.placement import own_placement
from fake_torch_dist.launcher.environment_names import MAX_RESTARTS


def restarts_of(config: RunConfig) -> int:
    """The number of restarts from now on."""
    placement, allowed = own_placement(), os.environ.get(MAX_RESTARTS, "")
    if placement is None:
        return config.faults.restarts
    return max(0, (int(allowed) if allowed.isdecimal() else 0) - placement.attempt)
