"""Optimizers, whose step lets the simulated time of a training step pass.

Their states count in memory and checkpoints, and hold no values. Arguments and defaults are those of torch, or of the
optimizer's authors where torch has none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accelerate_sim.training_progress import TrainingProgress


class Optimizer:
    """The part that all optimizers share: one group of parameters with its settings, and the simulated step."""

    def __init__(self, params: Iterable[Any], **settings: Any) -> None:
        # Torch makes a list of the parameters. A large model has many names, and nothing here reads them.
        self.param_groups: list[dict[str, Any]] = [{"params": params, **settings}]
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


class AdamW(Optimizer):
    """AdamW (Loshchilov and Hutter 2019)."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)


class Muon(Optimizer):
    """Muon (Jordan et al. 2024) for the weight matrices, with AdamW for all other parameters."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_steps: int = 5,
    ) -> None:
        super().__init__(
            params, lr=lr, weight_decay=weight_decay, momentum=momentum, nesterov=nesterov, ns_steps=ns_steps
        )


class SOAP(Optimizer):
    """SOAP (Vyas et al. 2024): Adam in the eigenbasis of Shampoo's preconditioner."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 3e-3,
        betas: tuple[float, float] = (0.95, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        precondition_frequency: int = 10,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            precondition_frequency=precondition_frequency,
        )


class Lion(Optimizer):
    """Lion (Chen et al. 2023)."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, weight_decay=weight_decay)


class Adafactor(Optimizer):
    """Adafactor (Shazeer and Stern 2018)."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        beta2_decay: float = -0.8,
        d: float = 1.0,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, beta2_decay=beta2_decay, d=d, weight_decay=weight_decay)


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "adamw": AdamW, "muon": Muon, "soap": SOAP, "lion": Lion, "adafactor": Adafactor,
}  # fmt: skip
"""The optimizers by their names in the config."""


def get_optimizer(name: str, params: Iterable[Any], **settings: Any) -> Optimizer:
    """Make the optimizer that the config calls ``name``; ``settings`` are its arguments. Raises ValueError."""
    if name not in OPTIMIZERS:
        raise ValueError(f"there is no optimizer {name!r}; use one of {', '.join(OPTIMIZERS)}")
    return OPTIMIZERS[name](params, **settings)
