"""``LocalSGD``: ranks train apart for some steps, then average their parameters (Stich, ICLR 2019)."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

from accelerate_sim.own_script import objects as own_objects

if TYPE_CHECKING:
    from accelerate_sim.accelerator import Accelerator


class LocalSGD:
    """Context in which gradients are not averaged, and parameters are, every ``local_sgd_steps`` steps and at the end.

    It is for models whose parameters have ``data``; ValueError for others.
    """

    def __init__(self, accelerator: Accelerator, model: Any, local_sgd_steps: int, enabled: bool = True) -> None:
        self.enabled = enabled and accelerator.use_distributed
        self.accelerator = accelerator
        self.model = model
        self.local_sgd_steps = local_sgd_steps
        self.num_steps = 0

    def __enter__(self) -> LocalSGD:
        if self.enabled:
            self._apart = self.accelerator.no_sync(self.model)
            self._apart.__enter__()
        return self

    def step(self) -> None:
        """Count a step; after each ``local_sgd_steps`` of them the ranks average their parameters."""
        self.num_steps += 1
        if self.enabled and self.num_steps % self.local_sgd_steps == 0:
            self._average()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.enabled:
            if error is None:
                self._average()
            self._apart.__exit__(kind, error, traceback)

    def _average(self) -> None:
        self.accelerator.wait_for_everyone()
        own_objects.average_parameters([self.model])
