"""AdamW, whose step lets the simulated time of a training step pass."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accelerate_sim.training_progress import TrainingProgress


class AdamW:
    """AdamW (Loshchilov and Hutter 2019). Its states count in memory and checkpoints, and hold no values."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        self.param_groups = [
            # Torch makes a list of the parameters. A large model has many names, and nothing here reads them.
            {"params": params, "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        ]
        self._progress: TrainingProgress | None = None

    def connect(self, progress: TrainingProgress) -> None:
        """Take the training's progress, which each step advances."""
        self._progress = progress

    def step(self) -> None:
        """Update the weights, unless gradients are still being accumulated."""
        if self._progress is not None and self._progress.sync_gradients:
            self._progress.finish_step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Do nothing: no gradients are kept."""
