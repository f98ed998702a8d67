"""Expected losses from scratch against what was measured on public training logs."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelerate_sim.config.schema import RunConfig, TrainConfig
from accelerate_sim.sim.curves.from_scratch import FromScratch, law
from accelerate_sim.sim.curves.loss import LossCurve
from tests.support.loss_curves import SEEDS, VOCAB, curve

MEASURED = {
    0.002: (0.84, 1.0), 0.005: (0.68, 0.98), 0.01: (0.58, 0.90), 0.04: (0.32, 0.70), 0.1: (0.19, 0.59),
    0.2: (0.11, 0.43), 0.5: (0.05, 0.25), 0.8: (0.007, 0.04),
}  # fmt: skip
"""Height of the log loss (start 1, end 0) at a share of the run: the middle half of public runs."""


def test_untrained_model_knows_nothing() -> None:
    """Every token has the same odds, and the first weights are a little worse than that."""
    for seed in SEEDS:
        assert 0 <= curve(seed).trend(0.0).item() - math.log(VOCAB) <= 0.6


@pytest.mark.parametrize("share", MEASURED)
def test_loss_falls_as_measured(share: float) -> None:
    """The typical run is in the middle half of the public ones; single runs differ as those do."""
    heights = []
    for seed in SEEDS:
        one = curve(seed)
        start, here, end = (math.log(one.trend(step)) for step in (0.0, share * 3000, 2999.0))
        heights.append((here - end) / (start - end))
    low, high = MEASURED[share]
    assert 0.8 * low <= np.median(heights) <= 1.02 * high
    assert np.std(heights) > 0.05 * (high - low)


@settings(max_examples=50)
@given(seed=st.integers(0, 10**9), steps=st.integers(20, 50_000))
def test_expected_loss_only_falls(seed: int, steps: int) -> None:
    trend = curve(seed, steps).trend(np.arange(0, steps, max(1, steps // 500)).astype(float))
    assert np.all(np.diff(trend) <= 1e-9)
    assert trend[-1] >= 1.7


def test_fall_is_no_exponential() -> None:
    """In log-log it is nearly straight after the early drop; a run's second half still gains a little."""
    for seed in SEEDS:
        trend = curve(seed, steps=20_000, batch=512).trend(np.array([2000.0, 10_000.0, 18_000.0]))
        assert trend[0] - trend[1] > 2 * (trend[1] - trend[2]) > 0.01


@pytest.mark.parametrize(
    "parameters, steps, batch, low, high",
    [
        (124e6, 19_000, 64, 3.0, 3.5),  # GPT-2 on 10 billion tokens: 3.3
        (1.5e9, 25_000, 128, 2.5, 3.1),  # about a billion parameters
        (8e9, 100_000, 256, 2.0, 2.4),  # above 100 billion tokens
        (70e9, 1000, 128, 3.3, 6.3),  # stopped after 500 to 2000 steps
    ],
)
def test_runs_end_where_public_runs_ended(parameters: float, steps: int, batch: int, low: float, high: float) -> None:
    ends = [curve(seed, steps, batch, parameters).trend(steps - 1.0).item() for seed in SEEDS]
    assert low < np.median(ends) < high


def test_more_of_anything_is_better() -> None:
    """Larger models and more tokens end lower, seed by seed."""
    for seed in SEEDS:
        last = curve(seed).trend(2999.0)
        assert curve(seed, parameters=7e9).trend(2999.0) > last
        assert curve(seed, batch=512).trend(2999.0) < last
        assert curve(seed, steps=6000).trend(5999.0) < last


def test_two_datasets_do_not_move_a_model_by_a_nat() -> None:
    """Two teams' 124M on two data sets were at 4.10 and 4.34 nats after 1,000 steps."""
    how = {"epochs": 1, "steps_per_epoch": 19_000, "global_batch": 512, "sequence_length": 1024, "lr": 6e-4}
    config = RunConfig(train=TrainConfig.model_validate({**how, "warmup_steps": 715}))
    reached = [LossCurve.of(config, 1, seed, 50_257, 124e6, 19_000).trend(1000.0).item() for seed in range(60)]
    assert 4.1 < np.median(reached) < 4.7
    assert max(reached) - min(reached) < 0.9


def test_law_is_hoffmanns() -> None:
    """Chinchilla itself: 70 billion parameters, 1.4 trillion tokens, 1.94 nats."""
    assert law(70e9, 1.4e12) == pytest.approx(1.94, abs=0.01)


@settings(max_examples=40)
@given(key=st.integers(0, 10**6), steps=st.integers(200, 20_000), more=st.floats(1.0, 1.02))
def test_a_little_more_of_anything_changes_little(key: int, steps: int, more: float) -> None:
    """The shape is continuous in the model's size and the learning rate: no knob redraws it."""

    def end(parameters: float, lr: float) -> float:
        train = TrainConfig(epochs=1, steps_per_epoch=steps, lr=lr)
        return LossCurve.of(RunConfig(train=train), 1, key, VOCAB, parameters, steps).trend(steps / 2).item()

    assert end(7e9, 3e-4) == pytest.approx(end(7e9 * more, 3e-4 * more), abs=0.02)


def test_wsd_drops_at_the_end() -> None:
    """The cool-down of the last fifth gains what the high rate hid; with a constant rate it never shows."""
    steps = np.array([1800.0, 2400.0, 2999.0])
    for seed in SEEDS:
        trend, constant = (curve(seed, schedule=schedule).trend(steps) for schedule in ("wsd", "constant"))
        assert trend[1] - trend[2] > constant[1] - constant[2] + 0.02
        assert trend[0] - trend[1] == pytest.approx(constant[0] - constant[1], abs=0.02)


def falls(shares: list[float], parameters: float, batch: int, length: int, steps: int, **train: object) -> list[float]:
    """Median over data sets of the nats by which the expected loss falls from each share of a run to its end."""
    raw = {"epochs": 1, "steps_per_epoch": steps, "global_batch": batch, "sequence_length": length, **train}
    config, at = RunConfig(train=TrainConfig.model_validate(raw)), np.array([*shares, 1.0]) * (steps - 1)
    trends = np.array([LossCurve.of(config, 1, seed, 50_257, parameters, steps).trend(at) for seed in SEEDS])
    return list(np.median(trends[:, :-1] - trends[:, -1:], axis=0))


def test_little_is_left_to_learn_where_the_rate_has_decayed_to_nothing() -> None:
    """Two teams' 124M: 0.57 to 0.60 nats after a tenth of the run, 0.10 to 0.12 at half, 0.01 to 0.02 at 80 %."""
    tenth, half, late = falls([0.1, 0.5, 0.8], 124e6, 512, 1024, 19_560, lr=6e-4, min_lr=0.0, warmup_steps=700)
    assert 0.5 < tenth < 0.72
    assert 0.08 < half < 0.16
    assert 0 < late < 0.035


def test_a_constant_rate_goes_on_as_the_tokens_do() -> None:
    """Four machines' 8B: 0.41 to 0.52 nats after 30 % of the run, 0.20 to 0.23 at half, 0.05 to 0.07 at 80 %."""
    how = {"lr": 4e-4, "warmup_steps": 256, "schedule": "constant"}
    early, half, late = falls([0.3, 0.5, 0.8], 8e9, 16, 8192, 11_000, **how)
    assert 0.38 < early < 0.62
    assert 0.17 < half < 0.3
    assert 0.04 < late < 0.1


def test_the_rates_to_come_do_not_change_the_loss_so_far() -> None:
    """Schedules with the same rate until the cool-down agree up to it, and a cosine near its top nearly does."""
    for seed in SEEDS[:10]:
        cosine, wsd, constant = (curve(seed, 10_000, schedule=each) for each in ("cosine", "wsd", "constant"))
        early = np.array([0.0, 100.0, 500.0, 4000.0, 7900.0])
        assert wsd.trend(early) == pytest.approx(constant.trend(early), abs=1e-6)
        assert cosine.trend(early[:3]) == pytest.approx(constant.trend(early[:3]), abs=0.01)


def test_schedules_that_decay_end_alike_and_below_a_constant_rate() -> None:
    """A cool-down over the last fifth ends within hundredths of a cosine (Hägele et al. 2024)."""
    ends = {
        schedule: np.median([curve(seed, 19_000, 512, 124e6, schedule).trend(18_999.0).item() for seed in SEEDS])
        for schedule in ("cosine", "linear", "wsd", "constant")
    }
    assert max(abs(ends[each] - ends["cosine"]) for each in ("linear", "wsd")) < 0.07
    assert ends["constant"] > ends["cosine"] + 0.01


def test_a_high_rate_hides_nothing_before_anything_is_learned() -> None:
    """Its share of the loss grows from nothing at the first step to nearly the whole when the slow fall is over."""
    for seed in SEEDS[:10]:
        shape = curve(seed, schedule="constant").shape
        assert isinstance(shape, FromScratch)
        steps = np.array([0.0, 30.0, 300.0, 2999.0])
        hides = (shape.at(steps) - replace(shape, hidden=0.0).at(steps)) / shape.hidden
        assert hides[0] == pytest.approx(0.0, abs=1e-9)
        assert (np.diff(hides) > 0).all()
        assert hides[-1] > 0.6
