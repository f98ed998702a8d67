"""Gradient norms before clipping."""

from __future__ import annotations

import numpy as np
import pytest

from accelerate_sim.config.schema import TrainConfig
from accelerate_sim.sim.curves.grad_norm import GradNormCurve

SEEDS = range(30)
STEPS = np.arange(3000)


def values(seed: int, residual: float | np.ndarray = 0.0) -> np.ndarray:
    curve = GradNormCurve.of(TrainConfig(global_batch=128, sequence_length=8192), seed, seed, 3000)
    return curve.values(STEPS, np.broadcast_to(residual, STEPS.shape))


def test_norm_starts_steep_and_settles() -> None:
    """15 at first, 3 after ten steps, below 1 after some hundred, then a plateau of 0.15 to 0.6."""
    runs = np.array([values(seed) for seed in SEEDS])
    assert 6 < np.median(runs[:, 0]) < 28
    assert 1.5 < np.median(runs[:, 10]) < 5
    assert 0.8 < np.median(runs[:, 50]) < 2.2
    assert np.all(np.median(runs[:, 1000:], axis=1) < 1.0)
    assert np.all(np.median(runs[:, 2000:], axis=1) > 0.1)
    drop = runs[:, 0] / np.median(runs[:, 2000:], axis=1)
    assert 15 < np.median(drop) < 100


def test_clipping_matters_at_the_beginning_only() -> None:
    """1 to 6 % of the steps are above 1, nearly all of them early."""
    above = np.array([values(seed) > 1.0 for seed in SEEDS])
    assert 0.005 < np.median(above.mean(axis=1)) < 0.12
    assert above[:, :450].sum() > 0.9 * above.sum()


def test_band_is_tight_skewed_and_remembers() -> None:
    for seed in range(10):
        late = np.log(values(seed)[1000:])
        noise = late - np.convolve(np.pad(late, 50, mode="edge"), np.ones(101) / 101, "valid")
        spread = 1.4826 * np.median(np.abs(noise - np.median(noise)))
        assert 0.03 < spread < 0.13
        core = np.clip(noise / spread, -4, 4)
        assert 0.1 < np.mean((core - core.mean()) ** 3) / core.std() ** 3 < 2.0
        assert 0.08 < np.corrcoef(core[:-1], core[1:])[0, 1] < 0.6


def test_spikes_are_rare_and_fade() -> None:
    late = np.array([values(seed)[1000:] / np.median(values(seed)[1000:]) for seed in SEEDS])
    assert 1.3 < np.median(late.max(axis=1)) < 9
    assert late.max() < 12
    peak = late[:, 1:-2].argmax(axis=1) + 1
    after = late[np.arange(len(late)), peak + 1]
    highest = late[np.arange(len(late)), peak]
    assert np.median(np.log(after) / np.log(highest)) == pytest.approx(0.35, abs=0.25)


def test_norm_leans_on_the_loss() -> None:
    """An odd batch has a large gradient, too."""
    odd = np.where(STEPS == 2500, 6.0, 0.0)
    factors = [values(seed, odd)[2500] / values(seed)[2500] for seed in SEEDS]
    assert min(factors) > 1
    assert np.median(factors) > 1.05
    assert all(np.array_equal(values(seed, odd)[:2500], values(seed)[:2500]) for seed in SEEDS)
