"""``AgreeingProgress``: the training progress of a rank whose job takes faults while it runs."""

from __future__ import annotations

from collections.abc import Callable

from accelerate_sim.training_progress import TrainingProgress

EVERY_S = 0.5
"""Real seconds between two agreements at the least: each is a collective, which costs as much as a small step does."""
MOST_STEPS, MOST_S = 32, 10.0
"""Steps between two agreements at the most, as a run may become slower before the next one; more of short steps, as
many as take this many simulated seconds."""
MOST_SHORT_STEPS = 128


class AgreeingProgress(TrainingProgress):
    """The position of a rank whose job agrees on new faults between steps.

    All ranks find by themselves after which steps they agree: from the times of the steps, and the speed of rank 0's
    clock, on which they have agreed the last time.
    """

    _agree: Callable[[], float]
    due = 1
    """Completed steps at the next agreement."""

    def agree_by(self, agree: Callable[[], float]) -> None:
        """Set the function that agrees, in all ranks at once, and returns the speed of rank 0's clock."""
        self._agree = agree

    def finish_step(self) -> None:
        super().finish_step()
        if self.completed_steps >= self.due:
            self.due = self._next_due(self._agree())

    def continue_after(self, step: int) -> None:
        self.due = step + 1
        super().continue_after(step)

    def _next_due(self, speed: float) -> int:
        """Completed steps after which ``EVERY_S`` have passed at a speed, or ``MOST_STEPS`` have been made."""
        most = min(max(MOST_STEPS, int(MOST_S / self.run.mean_step_s)), MOST_SHORT_STEPS)
        done, last = self.completed_steps, min(self.completed_steps + most, self.run.last_step + 1)
        end_s = self.run.step_end_s(done - 1) + EVERY_S * speed
        return next((step for step in range(done + 1, last) if self.run.step_end_s(step - 1) >= end_s), last)
