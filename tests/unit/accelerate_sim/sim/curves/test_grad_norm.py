"""Gradient norms before clipping."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from accelerate_sim.config.sections.train import TrainConfig
from accelerate_sim.sim import noise
from accelerate_sim.sim.curves.grad_norm import GradNormCurve

SEEDS = range(30)
STEPS = np.arange(3000)


def curve(seed: int, **train: Any) -> GradNormCurve:
    """The norm of a model of 1B, or with other keys of ``train``."""
    raw = {"global_batch": 128, "sequence_length": 8192, "warmup_steps": 200, **train}
    return GradNormCurve.of(TrainConfig.model_validate(raw), seed, seed, 3000, 1e9)


def values(seed: int, residual: float | np.ndarray = 0.0, **train: Any) -> np.ndarray:
    return curve(seed, **train).values(STEPS, np.broadcast_to(residual, STEPS.shape))


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
    """Nearly all steps above 1 are early: public logs of 124M are until step 400, which is 13 % of this short run."""
    above = np.array([values(seed) > 1.0 for seed in SEEDS])
    assert 0.005 < np.median(above.mean(axis=1)) < 0.2
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
    assert late.max() < 20  # logs of 18,000 steps: 4.4, 6.7 and 14
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


def test_a_batch_with_an_odd_mix_of_texts_is_odd_in_norm_and_loss() -> None:
    """The norm is farther from its level in the batches whose loss is noisier, and as near as usual on average."""
    farther = []
    for seed in range(12):
        one = replace(curve(seed), unevenness=0.35, loss_coupling=0.0, odd_coupling=0.0, spike_share=0.0)
        uneven = noise.persistent(seed, "loss/uneven", 0.8, STEPS)
        off = np.abs(np.log(one.values(STEPS, np.zeros(len(STEPS)), mix=uneven) / one.level(STEPS)))
        farther.append(off[uneven > 0.5].mean() / off[uneven < -0.5].mean())
    assert 1.25 < np.median(farther) < 2.5


def level(parameters: float = 124e6, **train: Any) -> Any:
    """The level of ``GPT-2`` as it is usually trained, or with other keys: the median over data sets, as a function."""
    raw = {"global_batch": 512, "sequence_length": 1024, "lr": 6e-4, "warmup_steps": 715, "steps_per_epoch": 6333}
    config = TrainConfig.model_validate({**raw, **train})
    curves = [GradNormCurve.of(config, seed, seed, 19_000, parameters) for seed in SEEDS]
    return lambda step: float(np.median([curve.level(np.array([step]))[0] for curve in curves]))


def test_level_is_that_of_public_logs() -> None:
    """Two logs of 124M: 15 at first, 3.9 and 4.5 at step 10, 1.05 and 0.74 at 100, 0.30 and 0.31 at 2,000."""
    at = level()
    assert 9 < at(0) < 20
    assert 3 < at(10) < 8
    assert 0.6 < at(100) < 1.2
    assert 0.22 < at(2000) < 0.42


def test_norm_dips_and_rises_again_in_a_long_warm_up() -> None:
    """By a third, until the rate is about half its peak: logs of long warm-ups have x1.29 to x1.43."""
    at = level()
    norms = {step: at(step) for step in range(20, 720, 20)}
    dip = min(norms, key=lambda step: norms[step] if step < 300 else 9.0)
    top = max((step for step in norms if step > dip), key=norms.__getitem__)
    assert 60 <= dip <= 200 < top <= 500
    assert 1.15 < norms[top] / norms[dip] < 1.7


def test_level_follows_from_the_batch_and_not_from_names() -> None:
    """0.24 to 0.29 at half a million tokens a step, whatever the data; 0.5 to 0.7 at 32,768."""
    whole, small = (
        [
            GradNormCurve.of(TrainConfig(global_batch=batch, sequence_length=1024), seed, seed, 6000, 124e6).level(
                np.array([3000])
            )[0]
            for seed in SEEDS
        ]
        for batch in (512, 32)
    )
    assert 0.17 < min(whole) < max(whole) < 0.45
    assert 0.2 < np.median(whole) < 0.33
    assert 0.45 < np.median(small) < 0.9


def finetuned(seed: int, batch: int = 64, steps: int = 2000) -> np.ndarray:
    """Norms of a fine-tuning whose loss is unremarkable."""
    train = TrainConfig(start="finetune", global_batch=batch, sequence_length=2048)
    noise = np.random.default_rng(seed).standard_normal(steps)
    return GradNormCurve.of(train, seed, seed, steps, 7e9).values(np.arange(steps), noise)


def test_norm_of_a_fine_tuning_is_flat_and_nearly_symmetric() -> None:
    """Six sources: start over the value at 5 to 10 % of the run 0.7 to 1.5, end over it 0.8 to 1.7, skew 0 to 0.7."""
    starts, ends, skews, highest = [], [], [], []
    for seed in range(60):
        norms = finetuned(seed)
        settled = np.median(norms[100:200])
        starts.append(np.median(norms[:10]) / settled)
        ends.append(np.median(norms[-100:]) / settled)
        core = np.log(norms[200:]) - np.convolve(np.log(norms), np.ones(101) / 101, "same")[200:]
        core = np.clip(core / np.std(core), -3, 3)
        skews.append(np.mean((core - core.mean()) ** 3) / core.std() ** 3)
        highest.append(np.quantile(norms, 0.99) / np.median(norms))
    assert 0.8 < np.median(starts) < 1.6
    assert 0.8 < np.median(ends) < 1.4
    assert np.mean(np.array(ends) > 0.75) > 0.7
    assert 0.0 < np.median(skews) < 0.7
    assert 1.15 < np.median(highest) < 1.9


def test_few_conversations_make_a_rough_norm() -> None:
    """A core of 0.04 to 0.11 in large batches, of 0.2 to 0.3 in batches of four."""

    def core(batch: int) -> float:
        spreads = []
        for seed in SEEDS:
            late = np.log(finetuned(seed, batch)[500:])
            spreads.append(1.4826 * np.median(np.abs(np.diff(late))) / 2**0.5)
        return float(np.median(spreads))

    assert 0.03 < core(128) < 0.09
    assert 0.15 < core(4) < 0.45


def test_norm_of_a_fine_tuning_leans_on_its_loss() -> None:
    links = []
    for seed in SEEDS:
        noise = np.random.default_rng(seed).standard_normal(2000)
        links.append(np.corrcoef(np.log(finetuned(seed)), noise)[0, 1])
    assert 0.05 < np.median(links) < 0.45
