"""Runs as tables, to be compared with real logs."""

from __future__ import annotations

import itertools

from accelerate_sim.config.conflicts import conflicts
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.realism import COLUMNS, KINDS, played, preconditioned


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


def test_a_drawing_is_one_of_many() -> None:
    """Other habits, another shape; the same each time."""
    one = next(one for one in KINDS if one.name == "weekly-test")
    first, again, other = (
        list(itertools.islice(played(one, seed, drawing), 300)) for seed, drawing in ((1, 1), (1, 1), (1, 2))
    )
    assert first == again
    assert abs(float(first[-1][1]) - float(other[-1][1])) > 1e-3


def test_a_running_clock_counts_validations() -> None:
    one = next(one for one in KINDS if one.times == "between" and one.config["eval"]["every"] == 125)
    seconds = [float(row[4]) for row in itertools.islice(played(one, 1), 2, 400)]
    usual = sorted(seconds)[len(seconds) // 2]
    assert [number for number in (126, 251, 376) if seconds[number - 3] > 3 * usual] == [126, 251, 376]


def test_an_optimizer_may_work_harder_every_tenth_step() -> None:
    one = next(one for one in KINDS if one.work is preconditioned)
    seconds = [float(row[4]) for row in itertools.islice(played(one, 1), 2, 122)]
    usual = sorted(seconds)[len(seconds) // 2]
    assert {number % 10 for number, each in enumerate(seconds, 3) if each > 4 * usual} == {0}
