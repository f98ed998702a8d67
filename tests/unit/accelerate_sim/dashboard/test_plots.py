"""Curves, strips and groups of values as characters, and the marks of a restart and a validation."""

from datetime import datetime

import numpy as np
import pytest

from accelerate_sim.dashboard.history import History
from accelerate_sim.dashboard.panels import losses
from accelerate_sim.dashboard.plots import curve, pooled, strip
from accelerate_sim.display.style import Style
from accelerate_sim.records import AttemptRecord, EvalRecord, StepRecord

TIME = datetime(2026, 1, 1)


def step_of(number: int, loss: float) -> StepRecord:
    return StepRecord(1, 1, number, TIME, 1.0, 1.0, loss, 2.0, 1.0, 1e-3, 8, 100, 1.0, 0.4, 1, None)


def test_a_falling_line_falls_from_the_first_to_the_last_cell():
    x = np.arange(5.0)
    assert curve(x, -x, (0.0, 4.0, -4.0, 0.0), (5, 5), ascii=True) == ["*    ", " *   ", "  *  ", "   * ", "    *"]
    (row,) = curve(np.array([0.0, 1.0]), np.array([1.0, 0.0]), (0.0, 1.0, 0.0, 1.0), (1, 1), ascii=False)
    assert row == chr(0x2800 + 0x01 + 0x80)


def test_what_is_no_number_is_left_out():
    rows = curve(np.array([0.0, 1.0]), np.array([np.nan, 0.0]), (0.0, 1.0, 0.0, 1.0), (2, 2), ascii=True)
    assert rows == ["  ", " *"]


def test_a_strip_shows_the_latest_values_between_their_least_and_most():
    assert strip([9.0, 1.0, 2.0], 2, ascii=True) == "_#"
    assert strip([], 10, ascii=False) == ""


@pytest.mark.parametrize("wanted, groups", [(4, [1.0, 3.0, 5.0, 7.0]), (2, [3.0, 7.0]), (100, list(range(8)))])
def test_groups_keep_their_largest_value(wanted: int, groups: list[float]):
    assert pooled(np.arange(8.0), wanted).tolist() == groups


def test_restarts_and_validations_are_marked():
    history = History()
    for number in range(1, 11):
        history.observe(step_of(number, 10.0 - number))
    history.observe(EvalRecord(1, 1, 10, 0.0, 1.0, 1.0, True))
    history.observe(AttemptRecord(1, 5, TIME, 9.0))
    text = losses(None, history, Style(ascii=True), (48, 12)).plain
    assert text.count("|") == 11, "a bar over all rows of the curve"
    assert text.splitlines()[-2].endswith("o")
    assert history.restarts == [5]
