"""Noise of losses against what was measured on public training logs, validation, and reruns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelerate_sim.config.schema import RunConfig, TrainConfig
from accelerate_sim.sim.curves.loss import LossCurve
from tests.support.loss_curves import SEEDS, VOCAB, curve


@pytest.mark.parametrize(
    "batch, low, high",
    [(64, 0.028, 0.044), (512, 0.0098, 0.0156), (16, 0.056, 0.088)],
    ids=["half a million tokens", "four million", "an eighth of a million"],
)
def test_noise_is_set_by_the_tokens_of_a_batch(batch: int, low: float, high: float) -> None:
    """In nats, whatever the loss is: 0.035 at half a million tokens, less by the root of more."""
    late = np.arange(1500, 3000)
    spreads = []
    for seed in SEEDS:
        one = curve(seed, batch=batch)
        noise = one.train(late) - one.trend(late)
        spreads.append(1.4826 * np.median(np.abs(noise - np.median(noise))))
        assert abs(noise.mean()) < 0.25 * spreads[-1] + 0.02  # and what another seed is lucky by
    assert 0.85 * low < np.median(spreads) < 1.15 * high


def test_noise_is_smaller_while_the_loss_drops() -> None:
    early, late = np.arange(60), np.arange(1000, 3000)
    ratio = np.mean([np.std(curve(s).residual(early)) / np.std(curve(s).residual(late)) for s in SEEDS])
    assert 0.5 < ratio < 0.9


@pytest.mark.parametrize("start, most_grow", [("finetune", True), ("scratch", False)])
def test_noise_changes_with_the_fall_of_the_loss_by_a_power_of_the_run(start: str, most_grow: bool) -> None:
    """In most fine-tunings it grows as a share of the loss; from scratch as often as not, in nats."""
    train = TrainConfig.model_validate({"epochs": 1, "steps_per_epoch": 6000, "start": start})
    runs = [LossCurve.of(RunConfig(train=train), seed, seed, VOCAB, 7e9, 6000) for seed in range(40)]
    assert (np.median([run.hardening for run in runs]) > 0.2) == most_grow
    assert runs[0].train(np.arange(9), runs[0].residual(np.arange(9))) == pytest.approx(
        runs[0].train(np.arange(9)), abs=0
    )
    assert len({run.hardening > 0.0 for run in runs}) == 2
    steps = np.arange(500, 5500)
    for run in runs[:6]:
        alike = replace(run, hardening=0.0)
        trend, usual = run.trend(steps), alike.train(steps)
        grown = np.clip(run.usual / trend, 1.0 / 1.6, 3.0) ** run.hardening
        if run.relative:
            assert np.log(run.train(steps) / trend) == pytest.approx(np.log(usual / trend) * grown)
        else:
            base = trend + run.batch.offset(steps) + run.instability.loss_excess(steps)
            assert run.train(steps) - base == pytest.approx((usual - base) * grown, abs=1e-9)


def test_odd_batches_are_single_steps() -> None:
    """A few in a thousand, mostly upward; the step after is normal again."""
    upward = []
    for seed in range(12):
        noise = curve(seed, steps=20_000, batch=32).residual(np.arange(2000, 20_000))
        odd = np.flatnonzero(np.abs(noise) > 5.5)
        assert 0.0001 < len(odd) / len(noise) < 0.008
        assert np.median(np.abs(noise[np.minimum(odd + 1, len(noise) - 1)])) < 1.5
        upward.append(np.mean(noise[odd] > 0))
    assert np.median(upward) > 0.65


def test_validation_is_nearly_free_of_noise_and_near_the_training_loss() -> None:
    steps = np.arange(1000, 3000, 50)
    for seed in SEEDS:
        one = curve(seed)
        values = np.array([one.validation(int(step)) for step in steps])
        gap = values - one.trend(steps)
        assert np.all(np.abs(gap) < 0.03)
        assert gap.std() < 0.003 < one.sigmas[-1]


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), step=st.integers(0, 5000), replicas=st.integers(1, 64), micro=st.integers(1, 32))
def test_micro_batches_average_to_the_batch(seed: int, step: int, replicas: int, micro: int) -> None:
    """The losses that all ranks report have the run's loss as their mean."""
    one = curve(seed)
    deviation = one.micro_deviation(np.array([step, step + 1]), replicas, micro)
    assert deviation.shape == (2, micro, replicas)
    assert np.abs(deviation.sum(axis=(1, 2))).max() < 1e-12 * replicas * micro + 1e-13
    assert abs(one.validation_deviation(step, 0, replicas).sum()) < 1e-12


def test_micro_batches_differ_as_few_tokens_do() -> None:
    """0.17 nats for 8192 tokens, the most that was measured; ranks do not resemble each other."""
    deviation = curve(0).micro_deviation(np.arange(300), 8, 16)
    assert 0.1 < deviation.std() < 0.26
    assert abs(np.corrcoef(deviation[:, 0, 0], deviation[:, 5, 3])[0, 1]) < 0.2


def rerun(order: int, start: str = "scratch", **train: object) -> LossCurve:
    """One model on one dataset, its texts in order number ``order``."""
    config = RunConfig(train=TrainConfig.model_validate({"start": start, "steps_per_epoch": 1000, **train}))
    return LossCurve.of(config, order, 7, VOCAB, 70e9, config.train.epochs * 1000)


def test_reruns_with_another_seed_agree_as_real_ones_do() -> None:
    """Within a tenth of a nat at every step but for the batches' noise, and in the end within some hundredths."""
    steps = np.array([0.0, 28.0, 100.0, 1001.0, 2999.0])
    trends = np.array([rerun(order).trend(steps) for order in range(20)])
    assert np.ptp(trends, axis=0).max() < 0.1
    assert 0 < np.ptp(trends[:, -1]) < 0.03
    smoothed = [rerun(order).train(np.arange(1001, 1101)).mean() for order in range(20)]
    assert np.ptp(smoothed) < 0.1


def test_noise_belongs_to_the_data() -> None:
    """Another model that reads the same texts in the same order meets the same odd batches."""
    steps = np.arange(500, 900)
    ours = rerun(3)
    other = LossCurve.of(RunConfig(train=TrainConfig(steps_per_epoch=1000)), 3, 8, VOCAB, 8e9, 3000)
    assert np.corrcoef(ours.residual(steps), other.residual(steps))[0, 1] > 0.6
    assert abs(np.corrcoef(ours.residual(steps), rerun(4).residual(steps))[0, 1]) < 0.2
