"""Decimal places of the logged loss and gradient norm; drawn once per run, as public logs differ in them.

The screen, the metrics file and every sum use the rounded figure.
"""

from dataclasses import dataclass

import numpy as np

from accelerate_sim.sim.noise import Draws, Floats

LOSS_DECIMALS = ((0.43, 4), (0.49, 5), (0.6, 6), (1.0, 7))
NORM_DECIMALS = ((0.12, 2), (0.15, 3), (0.46, 4), (1.0, 7))
"""(cumulative share of the sources of public logs, decimals); 7 are all that a float32 has."""


def _decimals(draw: float, shares: tuple[tuple[float, int], ...]) -> int:
    return next(decimals for share, decimals in shares if draw <= share)


@dataclass(frozen=True)
class Printed:
    """Rounding of one run's loss and gradient norm."""

    loss_decimals: int
    norm_decimals: int

    @classmethod
    def of(cls, seed: int) -> "Printed":
        draws = Draws(seed, "printed")
        loss, norm = draws.between("loss", 0.0, 1.0), draws.between("norm", 0.0, 1.0)
        return cls(_decimals(loss, LOSS_DECIMALS), _decimals(norm, NORM_DECIMALS))

    def loss(self, values: Floats) -> Floats:
        """Round losses; none is a tie in the fourth decimal, which sums in another order would round the other way."""
        kept = np.round(values, self.loss_decimals)
        if self.loss_decimals == 4:
            return kept
        tie = np.abs(kept * 1e4 % 1.0 - 0.5) < 1e-4
        return np.asarray(np.round(kept + tie * 10.0**-self.loss_decimals, self.loss_decimals))

    def norm(self, values: Floats) -> Floats:
        """Round norms; none becomes 0."""
        return np.maximum(np.round(values, self.norm_decimals), 10.0**-self.norm_decimals)
