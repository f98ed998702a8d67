"""Seconds of single steps around their mean."""

from __future__ import annotations

import numpy as np
import pytest

from accelerate_sim.sim.incidents import Incident, Incidents
from accelerate_sim.sim.step_time import StepTimes

SEEDS = range(30)
STEPS = np.arange(20, 4000)


class Quiet(Incidents):
    """A cluster in which nothing goes wrong, but what is asked for."""

    incident: Incident | None = None

    def during(self, first: int, last: int) -> list[Incident]:
        return [self.incident] if self.incident else []


def times(seed: int, mean_s: float = 20.0, incident: Incident | None = None) -> StepTimes:
    quiet = Quiet(seed, 64, 0.5)
    object.__setattr__(quiet, "incident", incident)
    return StepTimes.of(seed, mean_s, 0.8, quiet, None)


def test_core_is_tight_and_the_tail_is_heavy() -> None:
    """Half of the steps within some tenths of a per cent; one in a hundred several per cent slower; few twice."""
    for seed in SEEDS:
        seconds = times(seed).seconds(STEPS)
        ratio = seconds / np.median(seconds)
        core = 1.4826 * np.median(np.abs(ratio - 1))
        assert 0.0008 < core < 0.012
        assert 1.005 < np.quantile(ratio, 0.99) < 1.3
        assert 1.02 < ratio.max() < 6
        assert ratio.min() > 0.93
        assert (ratio.max() - 1) > 3 * (1 - ratio.min())


def test_mean_is_what_was_planned() -> None:
    for seed in SEEDS:
        assert np.median(times(seed).seconds(STEPS)) == pytest.approx(20.0, rel=0.015)


def test_first_steps_are_slow() -> None:
    """Kernels are chosen and connections made in the first; the fifth is like all others."""
    for seed in SEEDS:
        first, second, *_, later = times(seed).seconds(np.arange(6))
        assert first > 1.15 * later
        assert first > second > 0.99 * later or second < 1.3 * later
        assert later < 1.6 * 20


def test_hiccups_come_back() -> None:
    """The same step of every period is a little slow."""
    for seed in SEEDS:
        one = times(seed)
        seconds = one.seconds(np.arange(1000, 9000))
        due = (np.arange(1000, 9000) + 1) % one.period == 0
        assert np.median(seconds[due]) > 1.005 * np.median(seconds[~due])


@pytest.mark.parametrize("mean_s", [0.001, 0.05, 3.0, 600.0])
def test_steps_always_take_time(mean_s: float) -> None:
    for seed in SEEDS:
        seconds = times(seed, mean_s).seconds(np.arange(2000))
        assert seconds.min() > 0.8 * mean_s
        assert np.array_equal(seconds, np.round(seconds, 6))


def test_one_slow_gpu_slows_everyone() -> None:
    """By as much as it is slower, in the part of the step in which it computes; before and after, not at all."""
    incident = Incident("slow", 17, start=100, stop=160, slowdown=1.25)
    steps = np.arange(60, 200)
    stretched = times(1, incident=incident).seconds(steps) / times(1).seconds(steps)
    outside = (steps < 100) | (steps >= 160)
    assert np.all(stretched[outside] == 1)
    assert np.all(stretched[~outside] > 1)
    assert stretched.max() == pytest.approx(1 + 0.8 * 0.25, abs=1e-4)


def test_imposed_times_stay_in_their_range() -> None:
    for seed in SEEDS:
        seconds = StepTimes.of(seed, 0.055, 0.8, Quiet(seed, 64, 0.5), (0.03, 0.08)).seconds(np.arange(3000))
        assert 0.03 <= seconds.min() < 0.04
        assert 0.07 < seconds.max() <= 0.08
        assert np.corrcoef(seconds[:-1], seconds[1:])[0, 1] > 0.3


def test_imposed_times_feel_a_slow_gpu_too() -> None:
    """As far as their range lets them."""
    incident = Incident("slow", 17, start=100, stop=160, slowdown=1.2)
    quiet, troubled = times(1).incidents, times(1, incident=incident).incidents
    base, stretched = (StepTimes.of(1, 0.055, 0.8, each, (0.03, 0.08)).seconds(STEPS) for each in (quiet, troubled))
    inside = (STEPS >= 115) & (STEPS < 145)
    assert stretched[inside] == pytest.approx(np.minimum(base[inside] * 1.16, 0.08), abs=2e-6)
    assert np.array_equal(stretched[STEPS < 100], base[STEPS < 100])
