"""``AgreeingProgress``: the training progress of a rank whose job takes faults while it runs."""

from __future__ import annotations

from collections.abc import Callable

from accelerate_sim.training_progress import TrainingProgress


class AgreeingProgress(TrainingProgress):
    """The position of a rank whose job agrees on new faults after each step."""

    agree: Callable[[], None]
    agreed = 0
    """Completed steps at the latest agreement."""

    def finish_step(self) -> None:
        super().finish_step()
        self.agree()
        self.agreed = self.completed_steps

    def continue_after(self, step: int) -> None:
        self.agreed = step
        super().continue_after(step)
