"""AdamW, and what ``prepare`` makes of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accelerate_sim.accelerator import Accelerator


class AdamW:
    """Loshchilov and Hutter 2019. Its states count in memory and checkpoints; its step takes the step's time."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        self.param_groups = [
            # Not made a list of, as torch does: a large model has many names, and nobody asks for them.
            {"params": params, "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        ]
        self.accelerator: Accelerator | None = None

    def step(self) -> None:
        """Update the weights, unless gradients are still being accumulated."""
        if self.accelerator is not None and self.accelerator.sync_gradients:
            self.accelerator.finish_step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients. They are not kept anywhere, so there is nothing to do."""
