"""Goodput of a run with failures, and the best interval between checkpoints."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelerate_sim.sim.disturbances.faults import PUBLISHED_RATE, FleetFaults
from accelerate_sim.sim.disturbances.goodput import Reliability, best_interval_s, goodput, young_daly_s

DAY_S = 86_400.0
INTERVAL = st.floats(1.0, 1e6)
STALL = st.floats(0.1, 600)
RESTART = st.floats(0.0, 1e5)
MTBF = st.floats(10.0, 1e9)


def played(interval_s: float, stall_s: float, restart_s: float, faults: FleetFaults, segments: int) -> float:
    """Goodput of a run that is really played, failure by failure; they come while it runs."""
    done, running_s, since_s, down_s = 0, 0.0, 0.0, 0.0
    for fault in faults.between(0.0, 1e12):
        whole = int((fault.second - since_s) / (interval_s + stall_s))
        if done + whole >= segments:
            running_s += (segments - done) * (interval_s + stall_s)
            break
        done += whole
        running_s += fault.second - since_s
        since_s, down_s = fault.second, down_s + restart_s
    return segments * interval_s / (running_s + down_s)


@pytest.mark.parametrize(
    ("mtbf_s", "interval_s", "stall_s", "restart_s"),
    [(10_000.0, 3000.0, 60.0, 420.0), (1800.0, 1500.0, 5.0, 420.0), (440.0, 60.0, 5.0, 420.0), (600.0, 2400.0, 5.0, 0)],
)
def test_it_is_what_a_run_that_is_played_gets(
    mtbf_s: float, interval_s: float, stall_s: float, restart_s: float
) -> None:
    """Rare failures, and failures so frequent that few segments ever pass."""
    faults = FleetFaults(3, 1000, 3.6 / mtbf_s)
    assert faults.mtbf_s == pytest.approx(mtbf_s)
    expected = goodput(interval_s, stall_s, restart_s, mtbf_s)
    assert played(interval_s, stall_s, restart_s, faults, 500) == pytest.approx(expected, rel=0.12)


@given(interval_s=INTERVAL, stall_s=STALL, restart_s=RESTART, mtbf_s=MTBF)
def test_it_is_a_share(interval_s: float, stall_s: float, restart_s: float, mtbf_s: float) -> None:
    """Never more than without failures; never below 0, however short the time between them."""
    assert 0 <= goodput(interval_s, stall_s, restart_s, mtbf_s) <= interval_s / (interval_s + stall_s) * (1 + 1e-9)


@given(
    interval_s=INTERVAL, stall_s=STALL, restart_s=RESTART, mtbf_s=MTBF, factor=st.floats(1.0, 100.0),
    which=st.sampled_from(["stall", "restart", "rate"]),
)  # fmt: skip
def test_nothing_bad_helps(
    interval_s: float, stall_s: float, restart_s: float, mtbf_s: float, factor: float, which: str
) -> None:
    worse = {"stall": (stall_s * factor, restart_s, mtbf_s), "restart": (stall_s, restart_s * factor, mtbf_s)}
    changed = worse.get(which, (stall_s, restart_s, mtbf_s / factor))
    assert goodput(interval_s, *changed) <= goodput(interval_s, stall_s, restart_s, mtbf_s) * (1 + 1e-9)


@given(interval_s=st.floats(10.0, 1e4), stall_s=STALL, restart_s=st.floats(0.0, 1e4))
def test_rare_failures_cost_what_everyone_reckons(interval_s: float, stall_s: float, restart_s: float) -> None:
    """To first order (1 - delta/tau) (1 - (tau/2 + R)/M); in the end only saving is left."""
    mtbf_s = 1e8
    saving = interval_s / (interval_s + stall_s)
    lost = ((interval_s + stall_s) / 2 + restart_s) / mtbf_s
    assert goodput(interval_s, stall_s, restart_s, mtbf_s) == pytest.approx(
        saving * (1 - lost), rel=10 * lost**2 + 1e-9
    )
    assert goodput(interval_s, stall_s, restart_s, 1e15) == pytest.approx(saving, rel=1e-8)
    assert goodput(interval_s, stall_s, restart_s, math.inf) == saving


def test_what_never_saves_never_ends() -> None:
    assert goodput(math.inf, 5.0, 420.0, 1e4) == 0
    assert goodput(1e9, 5.0, 420.0, 1e4) == 0  # and nothing overflows
    assert goodput(math.inf, 5.0, 420.0, math.inf) == 1


@pytest.mark.parametrize(("mtbf_min", "best_min"), [(24 * 60, 117), (6 * 60, 57), (15, 9.1)])
def test_best_interval_is_dalys(mtbf_min: float, best_min: float) -> None:
    """Captions of figures 3 to 5 of his paper: five minutes to save, ten to restart."""
    assert best_interval_s(300.0, 60.0 * mtbf_min) / 60 == pytest.approx(best_min, rel=0.01)


@given(stall_s=STALL, mtbf_s=MTBF, factor=st.floats(0.01, 100), restart_s=RESTART)
def test_no_interval_is_better(stall_s: float, mtbf_s: float, factor: float, restart_s: float) -> None:
    best_s = best_interval_s(stall_s, mtbf_s)
    best = goodput(best_s, stall_s, restart_s, mtbf_s)
    assert goodput(best_s * factor, stall_s, restart_s, mtbf_s) <= best * (1 + 1e-9)
    assert 0 < best_s <= min(mtbf_s, young_daly_s(stall_s, mtbf_s)) * (1 + 1e-9)


@given(stall_s=STALL)
def test_youngs_interval_is_the_first_approximation(stall_s: float) -> None:
    """Too long by two thirds of what saving takes."""
    mtbf_s = 1e6 * stall_s
    assert young_daly_s(stall_s, mtbf_s) - best_interval_s(stall_s, mtbf_s) == pytest.approx(2 / 3 * stall_s, rel=0.01)


def reliability(
    rate: float, gpus: int = 16_384, every: int = 100, step_s: float = 6.0, stall_s: float = 5.0
) -> Reliability:
    return Reliability.of(FleetFaults(1, gpus, rate), 30 * DAY_S, step_s, every, stall_s, 420.0)


@given(rate=st.floats(1e-6, 1e-3), worse=st.floats(1.0, 100.0), gpus=st.integers(8, 100_000), stall_s=STALL)
def test_more_failures_never_help(rate: float, worse: float, gpus: int, stall_s: float) -> None:
    """Neither goodput nor the time between failures; and one should save more often."""
    few, many = (reliability(each, gpus, 600, 6.0, stall_s) for each in (rate, rate * worse))
    assert 0 <= many.goodput <= few.goodput <= 1
    assert many.mtbf_s <= few.mtbf_s
    assert many.best_steps <= few.best_steps
    assert many.interruptions >= few.interruptions


@given(rate=st.floats(1e-6, 0.1), step_s=st.floats(0.1, 500.0), every=st.integers(1, 5000))
def test_no_number_of_steps_is_better(rate: float, step_s: float, every: int) -> None:
    """Intervals at which a run saves at least once; there is no saving in the middle of a step."""
    found = reliability(rate, every=every, step_s=step_s)
    assert found.best_steps >= 1
    if max(every, found.best_steps) * step_s <= 30 * DAY_S:
        assert found.goodput <= found.best_goodput * (1 + 1e-9)


def test_a_run_that_does_not_save_begins_anew() -> None:
    never, once_too_late = (reliability(PUBLISHED_RATE, every=every) for every in (0, 10**9))
    assert never.goodput == once_too_late.goodput < 1e-9 < reliability(PUBLISHED_RATE).goodput


def test_a_healthy_run_gets_on_nine_tenths_of_the_time() -> None:
    """Llama 3 had more than 90 % of effective training time, with fast checkpoints and restarts."""
    found = reliability(PUBLISHED_RATE)
    assert 0.9 < found.goodput < 0.97
    assert found.goodput <= found.best_goodput
    assert np.isclose(found.interruptions, 30 * 24 * 16_384 * PUBLISHED_RATE)
