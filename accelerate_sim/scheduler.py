"""Learning-rate schedules under the names that transformers has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from accelerate_sim.optimizer import AdamW
from accelerate_sim.state import PartialState

if TYPE_CHECKING:
    from accelerate_sim.accelerator import Accelerator
    from accelerate_sim.config.schema import TrainConfig


SCHEDULES = ("cosine", "linear", "wsd", "constant")
"""Schedules that the simulation has."""


class LRScheduler:
    """Sets the optimizer's rate; counts optimizer steps, not micro-batches."""

    def __init__(self, optimizer: AdamW, rate: Callable[[int], float] | None = None) -> None:
        """``rate`` gives the rate of an optimizer step; None: the run's."""
        self.optimizer = optimizer
        self.accelerator: Accelerator | None = None
        self._rate = rate or PartialState.required().run.lr
        self._last_lr = self._rate(0)

    def get_last_lr(self) -> list[float]:
        """The rate that the next optimizer step uses."""
        return [self._last_lr]

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on after ``last_epoch`` optimizer steps, as torch's schedulers call them."""
        self._last_lr = self._rate(state["last_epoch"])
        self.optimizer.param_groups[0]["lr"] = self._last_lr

    def step(self) -> None:
        if self.accelerator is None or not self.accelerator.sync_gradients:
            return
        self._last_lr = self._rate(self.accelerator.completed_steps)
        self.optimizer.param_groups[0]["lr"] = self._last_lr


def get_scheduler(name: str, optimizer: AdamW, num_warmup_steps: int, num_training_steps: int) -> LRScheduler:
    """The schedule ``name``. In a planned run it has to be the one that the run is planned with.

    A user's own script gets the one that it asks for, from the optimizer's rate to zero. Raises ValueError.
    """
    state = PartialState.required()
    train = state.run.config.train
    if state.own_script:
        return LRScheduler(optimizer, _rates(train, name, optimizer, num_warmup_steps, num_training_steps))
    planned = (train.schedule, train.warmup_steps, train.epochs * train.steps_per_epoch)
    if (name, num_warmup_steps, num_training_steps) != planned:
        asked = (name, num_warmup_steps, num_training_steps)
        raise ValueError(f"schedule, warm-up and training steps are {planned} in the config, but {asked} was asked for")
    return LRScheduler(optimizer)


def _rates(train: TrainConfig, name: str, optimizer: AdamW, warmup: int, total: int) -> Callable[[int], float]:
    """The learning rate of each optimizer step by the schedule ``name``. ValueError for one that is not there."""
    from accelerate_sim.sim.curves.schedule import learning_rate

    schedule = {"constant_with_warmup": "constant"}.get(str(name), str(name))
    if schedule not in SCHEDULES:
        raise ValueError(f"there is no schedule {name!r}; use one of {', '.join(SCHEDULES)}")
    asked = {"schedule": schedule, "warmup_steps": warmup, "lr": optimizer.param_groups[0]["lr"], "min_lr": 0.0}
    changed = train.model_copy(update=asked)
    return lambda step: float(learning_rate(changed, total, step))


def get_linear_schedule_with_warmup(optimizer: AdamW, num_warmup_steps: int, num_training_steps: int) -> LRScheduler:
    """A rate that rises over the warm-up and then falls evenly to zero."""
    return get_scheduler("linear", optimizer, num_warmup_steps, num_training_steps)


def get_cosine_schedule_with_warmup(optimizer: AdamW, num_warmup_steps: int, num_training_steps: int) -> LRScheduler:
    """A rate that rises over the warm-up and then falls to zero as half a cosine does."""
    return get_scheduler("cosine", optimizer, num_warmup_steps, num_training_steps)
