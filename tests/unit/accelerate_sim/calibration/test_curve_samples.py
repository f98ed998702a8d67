"""Runs as tables, to be compared with real logs."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import yaml

from accelerate_sim.calibration.curve_kinds import KINDS, preconditioned
from accelerate_sim.calibration.curve_samples import COLUMNS, LOGGER_S, played, run_of
from accelerate_sim.config.checks.conflicts import conflicts
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.sim.timeline import BLOCK
from tests.support.repository import REFERENCE


def test_kinds_are_many_and_can_be_configured() -> None:
    assert len(KINDS) > 20
    assert len({one.name for one in KINDS}) == len(KINDS)
    for one in KINDS:
        assert list(conflicts(RunConfig.model_validate(one.config))) == [], one.name


def test_kinds_of_a_benchmark_have_the_batches_of_its_logs() -> None:
    batches = {
        (log["config"]["cluster"]["gpu"], log["config"]["train"]["global_batch"])
        for log in yaml.safe_load((REFERENCE / "measured_curves.yaml").read_text(encoding="utf-8"))
        if "-8b-" in log["run"]
    }
    kinds = {
        (one.config["cluster"]["gpu"], one.config["train"]["global_batch"])
        for one in KINDS
        if one.name.startswith("8b-")
    }
    assert kinds == batches


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
    one = next(one for one in KINDS if one.times == "between" and one.config["eval"]["every"] == 250)
    seconds = [float(row[4]) for row in itertools.islice(played(one, 1), 2, 800)]
    usual = sorted(seconds)[len(seconds) // 2]
    # A validation takes three seconds here, a step the same; only the steps after one are so long in all three places.
    assert [number for number in (251, 501, 751) if seconds[number - 3] > 1.5 * usual] == [251, 501, 751]


def test_a_benchmarks_logger_adds_its_own_time_to_the_mean_of_an_interval() -> None:
    """Some tens of milliseconds for a value, whatever the machine; all decimals are written, and no bias."""
    for one in (one for one in KINDS if one.times == "benchmark"):
        rows, run = list(itertools.islice(played(one, 1), 60)), run_of(one, 1)
        assert int(rows[0][0]) == one.every
        written = np.array([float(row[4]) for row in rows])
        steps = np.concatenate([run.block_of(step).step_s for step in range(0, 60 * one.every, BLOCK)])
        own = (written - steps[: 60 * one.every].reshape(-1, one.every).mean(axis=1)) * one.every
        assert LOGGER_S[0] / 1.5 < np.std(own) < LOGGER_S[1] * 1.5
        assert abs(np.mean(own)) < 0.5 * LOGGER_S[1]
        assert np.mean(written != np.round(written, 5)) > 0.9


def test_an_optimizer_may_work_harder_every_tenth_step() -> None:
    one = next(one for one in KINDS if one.work is preconditioned)
    seconds = [float(row[4]) for row in itertools.islice(played(one, 1), 2, 122)]
    usual = sorted(seconds)[len(seconds) // 2]
    assert {number % 10 for number, each in enumerate(seconds, 3) if each > 4 * usual} == {0}


def test_a_log_begins_with_a_slow_step_unless_its_kernels_ran_before() -> None:
    for name in ("weekly-test", "405b-512"):
        one = next(one for one in KINDS if one.name == name)
        rows = list(itertools.islice(played(one, 1), 40))
        seconds = [float(row[4]) for row in rows]
        assert int(rows[0][0]) == 1
        assert (seconds[0] > 1.05 * sorted(seconds)[20]) != one.warmed_up


def test_a_benchmark_goes_on_with_a_tokenizer_of_others() -> None:
    one = next(one for one in KINDS if one.name == "405b-512")
    assert 7.4 < float(next(played(one, 1))[1]) < 8.0


def test_a_smoothed_loss_follows_the_true_one_with_less_noise() -> None:
    """A debiased average starts at the first loss and lags behind a fall."""
    one = next(one for one in KINDS if one.losses == "smoothed" and one.norms)
    rows = list(itertools.islice(played(one, 1), 600))
    written, run = np.array([float(row[1]) for row in rows]), run_of(one, 1)
    own = np.array([float(run.micro_losses(step)[-1, 0]) for step in range(600)])
    assert written[0] == pytest.approx(own[0], abs=1e-6)
    assert written[30] > own[25:31].min()
    assert np.std(np.diff(written[300:])) < 0.3 * np.std(np.diff(own[300:]))


def test_a_logger_leaves_out_what_it_does_not_know() -> None:
    silent = next(one for one in KINDS if one.losses == "none" and not one.norms)
    for row in itertools.islice(played(silent, 1), 3):
        assert (row[1], row[2]) == ("", "")
        assert float(row[4]) > 0


def test_the_log_of_a_resumed_run_begins_where_it_was_resumed() -> None:
    resumed = next(one for one in KINDS if one.begins)
    whole = replace(resumed, begins=0)
    first = next(played(resumed, 1))
    assert int(first[0]) == resumed.begins + resumed.every
    assert first[1] == next(row for row in played(whole, 1) if row[0] == first[0])[1]
