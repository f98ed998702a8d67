"""Texts of bars are those that tqdm makes of the same figures."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tqdm import tqdm as std_tqdm
from tqdm.std import Bar  # absent in the stubs

from accelerate_sim.display.bar_text import bar_of, figure_texts

ALL_FIELDS = "{l_bar}#{r_bar}#{desc}: {percentage:3.0f}%#{n_fmt}/{total_fmt}#{elapsed}<{remaining}{postfix}"
USUAL: dict[str, Any] = {
    "n": 3, "total": 10, "elapsed": 6.0, "prefix": "Work", "unit": "step", "unit_scale": False, "rate": None,
    "postfix": None, "unit_divisor": 1000, "initial": 0, "ascii": False, "colour": None,
}  # fmt: skip


def of_tqdm(figures: dict[str, Any]) -> str:
    return str(std_tqdm.format_meter(**figures, bar_format=ALL_FIELDS))


@given(
    total=st.integers(1, 10**6) | st.floats(0.5, 1e6),
    share=st.floats(0, 1),
    elapsed=st.floats(0, 1e6),
    rate=st.none() | st.just(0.0) | st.floats(1e-6, 1e6),
    prefix=st.sampled_from(["Work", "Work: ", "{n}", "進捗"]),
    postfix=st.sampled_from([None, "", "loss=2.41, ppl=11.14", "{bar}"]),
    initial=st.integers(0, 5),
)
def test_the_fields_of_a_usual_bar_are_tqdms(total, share, elapsed, rate, prefix, postfix, initial):
    n = int(total * share) if isinstance(total, int) else total * share
    own = {"n": n, "total": total, "elapsed": elapsed, "rate": rate, "prefix": prefix, "postfix": postfix}
    figures = USUAL | own | {"initial": min(initial, n)}
    texts = figure_texts(figures)
    assert texts is not None and ALL_FIELDS.format_map(texts) == of_tqdm(figures)


@pytest.mark.parametrize(
    "changed",
    [
        {"total": None}, {"total": 0}, {"n": 11}, {"n": -1}, {"total": float("inf")}, {"unit_scale": True},
        {"unit_scale": 8}, {"prefix": ""}, {"postfix": 7},
    ],
    ids=str,
)  # fmt: skip
def test_an_unusual_bar_is_left_to_tqdm(changed: dict[str, Any]):
    assert figure_texts(USUAL | changed) is None


@given(share=st.floats(0, 1), symbols=st.sampled_from([Bar.UTF, Bar.ASCII, " .#", "  "]), columns=st.integers(1, 200))
def test_a_bar_is_filled_as_tqdms(share: float, symbols: str, columns: int):
    assert bar_of(share, symbols, columns) == format(Bar(share, charset=symbols), str(columns))
