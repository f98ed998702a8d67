"""Learning-rate schedules under the names that transformers has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from accelerate_sim.optimizer import AdamW
from accelerate_sim.state import PartialState

if TYPE_CHECKING:
    from accelerate_sim.accelerator import Accelerator


class LRScheduler:
    """Sets the optimizer's rate; counts optimizer steps, not micro-batches."""

    def __init__(self, optimizer: AdamW) -> None:
        self.optimizer = optimizer
        self.accelerator: Accelerator | None = None
        self._run = PartialState.required().run
        self._last_lr = self._run.lr(0)

    def get_last_lr(self) -> list[float]:
        """The rate that the next optimizer step uses."""
        return [self._last_lr]

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on after ``last_epoch`` optimizer steps, as torch's schedulers call them."""
        self._last_lr = self._run.lr(state["last_epoch"])
        self.optimizer.param_groups[0]["lr"] = self._last_lr

    def step(self) -> None:
        if self.accelerator is None or not self.accelerator.sync_gradients:
            return
        self._last_lr = self._run.lr(self.accelerator.completed_steps)
        self.optimizer.param_groups[0]["lr"] = self._last_lr


def get_scheduler(name: str, optimizer: AdamW, num_warmup_steps: int, num_training_steps: int) -> LRScheduler:
    """The schedule ``name``; it has to be the one that the run is planned with."""
    train = PartialState.required().run.config.train
    planned = (train.schedule, train.warmup_steps, train.epochs * train.steps_per_epoch)
    if (name, num_warmup_steps, num_training_steps) != planned:
        asked = (name, num_warmup_steps, num_training_steps)
        raise ValueError(f"schedule, warm-up and training steps are {planned} in the config, but {asked} was asked for")
    return LRScheduler(optimizer)
