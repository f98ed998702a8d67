"""Learning-rate schedules under the names that transformers has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from accelerate_sim.optimizer import AdamW
from accelerate_sim.state import PartialState

if TYPE_CHECKING:
    from accelerate_sim.training_progress import TrainingProgress


class LRScheduler:
    """Sets the optimizer's learning rate. It counts optimizer steps, not micro-batches."""

    def __init__(self, optimizer: AdamW) -> None:
        self.optimizer = optimizer
        self._progress: TrainingProgress | None = None
        self._run = PartialState().run
        self._last_lr = self._run.lr(0)

    def connect(self, progress: TrainingProgress) -> None:
        """Take the training's progress, which has the number of completed steps."""
        self._progress = progress

    def get_last_lr(self) -> list[float]:
        """The learning rate of the next optimizer step."""
        return [self._last_lr]

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue after ``last_epoch`` optimizer steps; torch's schedulers call steps epochs."""
        self._last_lr = self._run.lr(state["last_epoch"])
        self.optimizer.param_groups[0]["lr"] = self._last_lr

    def step(self) -> None:
        """Set the rate of the next step, unless gradients are still being accumulated."""
        if self._progress is None or not self._progress.sync_gradients:
            return
        self._last_lr = self._run.lr(self._progress.completed_steps)
        self.optimizer.param_groups[0]["lr"] = self._last_lr


def get_scheduler(name: str, optimizer: AdamW, num_warmup_steps: int, num_training_steps: int) -> LRScheduler:
    """The schedule ``name``. Raises ValueError if the run is planned with another one."""
    train = PartialState().run.config.train
    planned = (train.schedule, train.warmup_steps, train.epochs * train.steps_per_epoch)
    if (name, num_warmup_steps, num_training_steps) != planned:
        asked = (name, num_warmup_steps, num_training_steps)
        raise ValueError(f"schedule, warm-up and training steps are {planned} in the config, but {asked} was asked for")
    return LRScheduler(optimizer)
