"""``is_simulated``: the test for simulated models, optimizers, loaders and schedulers, as opposed to a user's own."""

from __future__ import annotations

from typing import Any


def is_simulated(thing: Any) -> bool:
    """True for a simulated model, optimizer, loader or scheduler."""
    from accelerate_sim.data_loader import DataLoader, MapDataLoader
    from accelerate_sim.modeling import CausalLM
    from accelerate_sim.optimizer import Optimizer
    from accelerate_sim.scheduler import LRScheduler

    return isinstance(thing, CausalLM | Optimizer | LRScheduler | DataLoader) and not isinstance(thing, MapDataLoader)
