"""Kinds of fault of the training itself: nan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from accelerate_sim.faults.consequences import Figures, Truth
from accelerate_sim.faults.kind import Key, Kind
from accelerate_sim.faults.occurrence import Occurrence
from accelerate_sim.faults.spans import Span


def _not_a_number(strike: Occurrence, figures: Figures) -> Figures:
    nan = np.array([strike.strength(int(step)) > 0.0 for step in figures.steps])
    loss = np.where(nan, np.nan, figures.loss) if strike.fault["what"] == "loss" else figures.loss
    return replace(figures, loss=loss, grad_norm=np.where(nan, np.nan, figures.grad_norm))


KINDS = (
    Kind(
        name="nan", help="the loss, or the gradients alone, are not a number for some steps",
        targets=("job", "rank"),
        target="job",
        keys={"what": Key("word", "loss", "The figure that is not a number.", ("loss", "grad"))},
        lasts=Span(steps=1), figures=_not_a_number, truth=Truth("numeric"),
    ),
)  # fmt: skip
