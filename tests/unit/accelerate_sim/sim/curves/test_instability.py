"""Leaps of the loss."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelerate_sim.sim.curves.instability import Instability


def test_leaps_are_rare_and_the_norm_leads() -> None:
    """About one in a hundred thousand steps; the norm is up some steps before the loss, and both come back."""
    steps = np.arange(0, 400_000, 1)
    calm = Instability.of(5, 3e-4, 7e9, 100)
    assert 0 <= len(calm.during(steps)) < 12
    wild = Instability(5, 1e-4, 100)
    found = wild.during(steps)
    assert 20 < len(found) < 70
    leap = found[0]
    around = np.arange(leap.start - 5, leap.start + 400)
    loss, norm = leap.loss_excess(around), leap.norm_log_excess(around)
    assert np.flatnonzero(loss > 0.02)[0] - np.flatnonzero(norm > 0.02)[0] >= 2
    assert 0.2 < loss.max() <= leap.height
    assert loss[-1] == norm[-1] == 0
    assert (loss[:5] == 0).all()


@settings(max_examples=25)
@given(first=st.integers(0, 5000), length=st.integers(1, 600))
def test_leaps_are_the_same_from_anywhere(first: int, length: int) -> None:
    wild = Instability(5, 2e-3, 100)
    steps = np.arange(first, first + length)
    for figure in (wild.loss_excess, wild.norm_log_excess):
        assert figure(steps)[-1] == pytest.approx(figure(steps[-1:])[0], rel=1e-12)


def test_a_learning_rate_that_is_too_high_leaps_more() -> None:
    rates = [Instability.of(1, lr, 7e9, 100).rate for lr in (1e-4, 3e-4, 1e-3, 1e-1)]
    assert rates == sorted(rates)
    assert rates[-1] < 1e-3
