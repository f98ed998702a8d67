"""Learning-rate schedules under the names that transformers has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from accelerate_sim.optimizer import Optimizer
from accelerate_sim.state import PartialState

if TYPE_CHECKING:
    from accelerate_sim.config.sections.train import TrainConfig
    from accelerate_sim.training_progress import TrainingProgress


SCHEDULES = ("cosine", "linear", "wsd", "constant")
"""Schedules that the simulation has."""


class LRScheduler:
    """Sets the optimizer's learning rate. It counts optimizer steps, not micro-batches."""

    def __init__(self, optimizer: Optimizer, rate: Callable[[int], float] | None = None) -> None:
        """``rate`` gives the learning rate of each optimizer step; None: that of the run."""
        self.optimizer = optimizer
        self._progress: TrainingProgress | None = None
        self._rate = rate or PartialState().run.lr
        self._last_lr = self._rate(0)

    def connect(self, progress: TrainingProgress) -> None:
        """Take the training's progress, which has the number of completed steps."""
        self._progress = progress

    def get_last_lr(self) -> list[float]:
        """The learning rate of the next optimizer step."""
        return [self._last_lr]

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue after ``last_epoch`` optimizer steps; torch's schedulers call steps epochs."""
        self._last_lr = self._rate(state["last_epoch"])
        self.optimizer.param_groups[0]["lr"] = self._last_lr

    def step(self) -> None:
        """Set the rate of the next step, unless gradients are still being accumulated."""
        if self._progress is None or not self._progress.sync_gradients:
            return
        self._last_lr = self._rate(self._progress.completed_steps)
        self.optimizer.param_groups[0]["lr"] = self._last_lr


def get_scheduler(name: str, optimizer: Optimizer, num_warmup_steps: int, num_training_steps: int) -> LRScheduler:
    """The schedule ``name``. In a planned run it has to be the one that the run is planned with.

    A user's own script gets the one that it asks for, from the optimizer's rate to zero. Raises ValueError.
    """
    state = PartialState()
    train = state.run.config.train
    if state.own_script:
        return LRScheduler(optimizer, _rates(train, name, optimizer, num_warmup_steps, num_training_steps))
    planned = (train.schedule, train.warmup_steps, train.epochs * train.steps_per_epoch)
    if (name, num_warmup_steps, num_training_steps) != planned:
        asked = (name, num_warmup_steps, num_training_steps)
        raise ValueError(f"schedule, warm-up and training steps are {planned} in the config, but {asked} was asked for")
    return LRScheduler(optimizer)


def _rates(train: TrainConfig, name: str, optimizer: Optimizer, warmup: int, total: int) -> Callable[[int], float]:
    """The learning rate of each optimizer step by the schedule ``name``. ValueError for one that is not there."""
    from accelerate_sim.sim.curves.schedule import learning_rate

    schedule = {"constant_with_warmup": "constant"}.get(str(name), str(name))
    if schedule not in SCHEDULES:
        raise ValueError(f"there is no schedule {name!r}; use one of {', '.join(SCHEDULES)}")
    asked = {"schedule": schedule, "warmup_steps": warmup, "lr": optimizer.param_groups[0]["lr"], "min_lr": 0.0}
    changed = train.model_copy(update=asked)
    return lambda step: float(learning_rate(changed, total, step))


def get_linear_schedule_with_warmup(
    optimizer: Optimizer, num_warmup_steps: int, num_training_steps: int
) -> LRScheduler:
    """A rate that rises over the warm-up and then falls evenly to zero."""
    return get_scheduler("linear", optimizer, num_warmup_steps, num_training_steps)


def get_cosine_schedule_with_warmup(
    optimizer: Optimizer, num_warmup_steps: int, num_training_steps: int
) -> LRScheduler:
    """A rate that rises over the warm-up and then falls to zero as half a cosine does."""
    return get_scheduler("cosine", optimizer, num_warmup_steps, num_training_steps)
