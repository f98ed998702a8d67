"""Learning rates."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelerate_sim.config.schema import TrainConfig
from accelerate_sim.sim.curves.schedule import (
    UpdateWorth,
    distance_share,
    full_rate_steps,
    learning_rate,
    learning_steps,
)  # fmt: skip

Schedule = Literal["cosine", "linear", "wsd", "constant"]
SCHEDULES: tuple[Schedule, ...] = ("cosine", "linear", "wsd", "constant")


def config(schedule: Schedule, warmup: int = 100) -> TrainConfig:
    return TrainConfig(
        schedule=schedule, lr=3e-4, min_lr=3e-5, warmup_steps=warmup, epochs=1, steps_per_epoch=max(1000, warmup)
    )


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_warm_up_rises_in_even_steps_to_the_peak(schedule: Schedule) -> None:
    rates = learning_rate(config(schedule), 1000, np.arange(100))
    assert rates[0] == pytest.approx(3e-4 / 100)
    assert rates[99] == pytest.approx(3e-4)
    assert np.diff(rates) == pytest.approx(3e-4 / 100)


@pytest.mark.parametrize("schedule, last", [("cosine", 3e-5), ("linear", 3e-5), ("wsd", 3e-5), ("constant", 3e-4)])
def test_last_step_has_the_lowest_rate(schedule: Schedule, last: float) -> None:
    rates = learning_rate(config(schedule), 1000, np.arange(1000))
    assert rates[-1] == pytest.approx(last, rel=1e-12)
    assert rates.max() == pytest.approx(3e-4)
    assert all(np.diff(rates[99:]) <= 1e-18)


@pytest.mark.parametrize("done", [0.1, 0.5, 0.9])
def test_shapes_are_the_published_formulas(done: float) -> None:
    """Share ``done`` of the way from the end of the warm-up to the last step."""
    step = 100 + round(900 * done) - 1

    def share(schedule: Schedule) -> float:
        return (learning_rate(config(schedule), 1000, step).item() - 3e-5) / (3e-4 - 3e-5)

    assert share("cosine") == pytest.approx(math.cos(math.pi * done / 2) ** 2)
    assert share("linear") == pytest.approx(1 - done)
    assert share("wsd") == pytest.approx(min(1.0, 5 * (1 - done)))


def test_without_warm_up_the_first_step_is_near_the_peak() -> None:
    assert learning_rate(config("cosine", warmup=0), 1000, 0).item() == pytest.approx(3e-4, rel=1e-4)


@given(
    schedule=st.sampled_from(SCHEDULES), warmup=st.integers(0, 5000), total=st.integers(1, 5000),
    step=st.integers(0, 10_000),
)  # fmt: skip
def test_rates_stay_between_nothing_and_the_peak(schedule: Schedule, warmup: int, total: int, step: int) -> None:
    """Also for warm-ups longer than the run, runs of one step, and steps after the end."""
    rate = learning_rate(config(schedule, warmup), total, step).item()
    assert 0 < rate <= 3e-4 * (1 + 1e-12)
    assert rate == learning_rate(config(schedule, warmup), total, np.arange(step, step + 3))[0]


@given(warmup=st.integers(0, 300), total=st.integers(1, 500), step=st.integers(0, 500))
def test_steps_at_the_full_rate_are_the_sum_of_rates(warmup: int, total: int, step: int) -> None:
    """Over the peak, up to the step; where nothing decays."""
    one = config("constant", warmup)
    rates = learning_rate(one, total, np.arange(step)) / 3e-4
    assert full_rate_steps(one, total, step).item() == pytest.approx(rates.sum())


@pytest.mark.parametrize(("warmup", "step"), [(0, 50), (100, 40), (100, 100), (100, 400), (1000, 400)])
def test_steps_of_a_warm_up_teach_by_the_root_of_their_rate(warmup: int, step: int) -> None:
    """Over the peak, and no less than the distance that they move the weights."""
    one = config("constant", warmup)
    roots = np.sqrt(learning_rate(one, 500, np.arange(step)) / 3e-4)
    assert learning_steps(one, 500, step).item() == pytest.approx(roots.sum(), rel=0.03)
    assert learning_steps(one, 500, step) >= full_rate_steps(one, 500, step) - 1e-9


@pytest.mark.parametrize("schedule", ["cosine", "linear", "wsd", "constant"])
def test_distance_is_the_sum_of_the_rates(schedule: str) -> None:
    train = TrainConfig.model_validate({"schedule": schedule, "warmup_steps": 50})
    summed = np.cumsum(learning_rate(train, 1000, np.arange(1000)))
    share = distance_share(train, 1000, np.arange(1, 1001))
    assert share == pytest.approx(summed / summed[-1], abs=2e-3)
    assert distance_share(train, 1000, 0) == 0


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("warmup", [0, 100])
def test_updates_are_worth_the_root_of_their_share_of_the_peak_rate(schedule: Schedule, warmup: int) -> None:
    """Relative to those of a cosine down to a tenth, whose tokens count as they are in the end."""
    train = config(schedule, warmup)
    steps = np.array([60.0, 150.0, 400.0, 820.0, 1000.0])
    roots = np.sqrt(learning_rate(train, 1000, np.arange(1000)) / train.lr)
    means = np.array([roots[: int(step)].mean() for step in steps])
    assert UpdateWorth.of(train, 1000).mean(steps) == pytest.approx(means / 0.7026, rel=0.02)


def test_a_cosines_tokens_are_worth_themselves_in_the_end() -> None:
    assert UpdateWorth.of(config("cosine", 0), 1000).mean(np.array(1000.0)) == pytest.approx(1.0, abs=0.001)
