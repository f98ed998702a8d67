"""The early fall of the loss from scratch: the model learns how often each token occurs."""

from dataclasses import dataclass

import numpy as np

from accelerate_sim.sim.noise import Draws, Floats

EARLY_STEPS_AT_6E4 = (1.15, 3.35)
"""Range of the steps at a peak rate of 6e-4 in which half of the early fall is made, whatever the model's size."""
EARLY_RATE_POWER = 0.6
"""Power of the learning rate by which a higher one shortens the early fall."""


@dataclass(frozen=True)
class EarlyFall:
    """The way from knowing nothing to knowing how often each token occurs: two falls with a knee between them.

    The frequent tokens come first. Steps are those at the peak rate; where the rate is tiny at first, so is the fall.
    """

    frequent: float
    """Share of the fall that frequent tokens make."""
    frequent_steps: float
    frequent_power: float
    steps: float
    power: float

    @classmethod
    def of(cls, draws: Draws, peak_rate: float, whole: float) -> "EarlyFall":
        """Draw the fall; ``whole`` is the run in steps at the peak rate."""
        steps = draws.log("early", *EARLY_STEPS_AT_6E4) * (6e-4 / peak_rate) ** EARLY_RATE_POWER
        steps = min(max(steps, 0.4), whole / 6 + 1.0)
        return cls(
            draws.between("frequent", 0.26, 0.42), steps * draws.log("frequent steps", 0.02, 0.08),
            draws.between("frequent power", 0.9, 1.5), steps, draws.between("early power", 1.2, 2.0),
        )  # fmt: skip

    def left(self, moved: Floats) -> Floats:
        """Share of the fall that is still to come."""
        first = self.frequent / (1.0 + (moved / self.frequent_steps) ** self.frequent_power)
        return np.asarray(first + (1.0 - self.frequent) / (1.0 + (moved / self.steps) ** self.power))
