"""Runs as tables, to be compared with real logs."""

from __future__ import annotations

import itertools

from accelerate_sim.config.layout import conflicts
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.realism import COLUMNS, KINDS, played


def test_kinds_are_many_and_can_be_configured() -> None:
    assert len(KINDS) > 20
    assert len({one.name for one in KINDS}) == len(KINDS)
    for one in KINDS:
        assert list(conflicts(RunConfig.model_validate(one.config))) == [], one.name


def test_throughput_and_time_of_a_row_make_the_batch() -> None:
    one = next(one for one in KINDS if one.name == "gpt2")
    for row in itertools.islice(played(one, 1), 50):
        assert len(row) == len(COLUMNS)
        assert abs(float(row[4]) * float(row[5]) / (512 * 1024) - 1) < 1e-6
