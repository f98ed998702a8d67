"""A bar that is made from counts and simulated seconds is the bar that tqdm makes of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tqdm import tqdm

from accelerate_sim.voices.tqdm_bar import TqdmBar


@given(total=st.integers(1, 10**6), share=st.floats(0, 1), seconds=st.floats(0.1, 1e6))
def test_a_closed_bar_is_tqdms(total: int, share: float, seconds: float) -> None:
    count = int(total * share)
    bar = TqdmBar(total, 0.0)
    bar.update(count, seconds)
    assert bar.bar(leaves=True).text(0) == tqdm.format_meter(count, total, seconds)


def test_the_first_state_is_tqdms() -> None:
    assert TqdmBar(20, 5.0).text(0) == tqdm.format_meter(0, 20, 0) == "  0%|          | 0/20 [00:00<?, ?it/s]"


def test_the_rate_is_smoothed_as_tqdm_smooths_it() -> None:
    bar = TqdmBar(100, 0.0)
    counts = seconds = weight = 0.0
    for step in range(1, 40):
        now_s = step * 1.5 + (step % 3) * 0.2
        assert bar.update(step, now_s)
        before_s = (step - 1) * 1.5 + ((step - 1) % 3) * 0.2 if step > 1 else 0.0
        counts, seconds = 0.3 * 1 + 0.7 * counts, 0.3 * (now_s - before_s) + 0.7 * seconds
        weight = 0.3 + 0.7 * weight
        expected = tqdm.format_meter(step, 100, now_s, rate=(counts / weight) / (seconds / weight))
        assert bar.text(0) == expected


def test_a_bar_is_drawn_ten_times_a_second_at_most() -> None:
    bar = TqdmBar(100, 0.0)
    assert [bar.update(step, step * 0.04) for step in range(1, 8)] == [False, False, True, False, False, True, False]


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_bar_fills_the_width(width: int) -> None:
    bar = TqdmBar(20, 0.0)
    bar.update(7, 3.0)
    assert len(bar.text(width)) == width
