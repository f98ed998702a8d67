"""Errors of rows that were not fitted: some rows are set aside in turn, and the constants are fitted to the rest.

These errors are smaller than those of families that are left out whole, as other runs of the same machine and software
are among those fitted. They hold for another table of similar runs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from accelerate_sim.calibration.accuracy import Comparison, Errors, compared
from accelerate_sim.calibration.columns import Measured
from accelerate_sim.calibration.fitting import Fit
from accelerate_sim.calibration.report import ranking, totals

FOLDS = 4
"""Parts that the rows are dealt into; each part is set aside once."""
DEALS = 3
"""Times that the rows are dealt anew, so that no single deal decides."""


@dataclass(frozen=True)
class HeldOut:
    """Errors of rows that the constants were not fitted to, over all deals."""

    totals: dict[str, Errors]
    ranked_right: int
    pairs: int
    """Pairs of rows that were set aside together, and so predicted with the same constants."""

    def lines(self) -> list[str]:
        """Return lines for a terminal or for markdown."""
        lines = [f"Rows set aside, one in {FOLDS} at a time, and predicted by a fit to the others ({DEALS} deals):"]
        lines.append("")
        for name, errors in self.totals.items():
            lines.append(f"- {name}: median {errors.median:.1%}, p90 {errors.p90:.1%}, bias {errors.bias:+.1%}")
        if self.pairs:
            lines.append(f"- pairs ranked right: {self.ranked_right / self.pairs:.1%}")
        return lines


def held_out(fit: Fit, runs: Sequence[Measured], progress: Callable[[str], None]) -> HeldOut:
    """Set rows aside in turn; ``fit`` is of all ``runs`` and done."""
    every: list[Comparison] = []
    right = pairs = 0
    for deal in range(DEALS):
        for aside in dealt(len(runs), deal):
            unseen = [run for run, out in zip(runs, aside, strict=True) if out]
            comparisons = compared(unseen, fit.without_rows(aside))
            every += comparisons
            ranked = ranking(comparisons)
            right, pairs = right + ranked[0], pairs + ranked[1]
        progress(f"rows set aside: deal {deal + 1} of {DEALS}")
    return HeldOut(totals(every), right, pairs)


def dealt(rows: int, deal: int) -> list[list[bool]]:
    """Return, for each fold, True for the rows in it; the same for the same ``deal``."""
    order = list(range(rows))
    Random(deal).shuffle(order)
    folds = [set(order[fold::FOLDS]) for fold in range(FOLDS)]
    return [[row in fold for row in range(rows)] for fold in folds]
