"""Noise that is a hash of its counters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelerate_sim.sim import noise

MANY = np.arange(40_000)
SEEDS = st.integers(0, 2**63 - 1)
COUNTERS = st.integers(-(2**40), 2**40)


def acf(values: noise.Floats, lag: int) -> float:
    centred = values - values.mean()
    return float(np.mean(centred[:-lag] * centred[lag:]) / np.mean(centred**2))


@pytest.mark.parametrize("seed", [0, 42, 2**62])
def test_uniform_numbers_fill_the_unit_interval_evenly(seed: int) -> None:
    values = noise.uniform(seed, "a", MANY)
    assert 0 < values.min() < values.max() < 1
    counts, _ = np.histogram(values, bins=20, range=(0, 1))
    assert np.sum((counts - 2000) ** 2 / 2000) < 45  # chi-square with 19 degrees of freedom: once in a thousand


@pytest.mark.parametrize("seed", [0, 42, 2**62])
def test_normal_numbers_have_the_moments_of_the_bell(seed: int) -> None:
    values = noise.normal(seed, "a", MANY)
    assert abs(values.mean()) < 0.02
    assert values.std() == pytest.approx(1, abs=0.02)
    assert abs(np.mean(values**3)) < 0.06
    assert np.mean(values**4) == pytest.approx(3, abs=0.15)
    assert np.mean(np.abs(values) > 3) == pytest.approx(0.0027, abs=0.001)


def test_exponential_and_skewed_numbers_have_their_moments() -> None:
    tail = noise.exponential(3, "a", MANY)
    assert (tail.mean(), tail.std()) == (pytest.approx(1, abs=0.03), pytest.approx(1, abs=0.04))
    for skew in (0.0, 0.45, 0.75, 1.0):
        values = noise.skewed(3, "b", skew, MANY)
        assert abs(values.mean()) < 0.03
        assert values.std() == pytest.approx(1, abs=0.04)
        assert np.mean(values**3) == pytest.approx(2 * skew**3, abs=0.2)


def test_rough_normals_have_the_middle_of_the_bell() -> None:
    values = noise.rough_normal(3, "a", MANY)
    assert abs(values.mean()) < 0.02
    assert values.std() == pytest.approx(1, abs=0.02)
    assert np.abs(values).max() < 3.5
    assert abs(np.corrcoef(values[1:], values[:-1])[0, 1]) < 0.02


def test_skew_goes_both_ways() -> None:
    values = noise.skewed(3, "b", -0.6, MANY)
    assert values.std() == pytest.approx(1, abs=0.04)
    assert np.mean(values**3) == pytest.approx(-2 * 0.6**3, abs=0.2)


def test_neighbours_streams_and_seeds_have_nothing_in_common() -> None:
    """Neither along one counter nor across two, nor with another name or seed."""
    values = noise.normal(1, "a", MANY)
    others = (
        values[1:], noise.normal(2, "a", MANY)[1:], noise.normal(1, "b", MANY)[1:], noise.normal(1, "a", MANY, 1)[1:],
        noise.normal(1, "a", 1, MANY)[1:],
    )  # fmt: skip
    for other in others:
        assert abs(np.corrcoef(values[:-1], other)[0, 1]) < 0.025
    grid = noise.normal(1, "a", np.arange(200)[:, None], np.arange(200))
    assert abs(np.corrcoef(grid[:, :-1].ravel(), grid[:, 1:].ravel())[0, 1]) < 0.025
    assert abs(np.corrcoef(grid[:-1].ravel(), grid[1:].ravel())[0, 1]) < 0.025
    assert len(np.unique(grid)) == grid.size


@given(seed=SEEDS, step=COUNTERS, rank=st.integers(0, 10**6), width=st.integers(1, 9))
def test_arrays_have_the_bits_of_single_numbers(seed: int, step: int, rank: int, width: int) -> None:
    """One process that plays all ranks, and one for each, hear the same noise."""
    steps, ranks = np.arange(step, step + 3), np.arange(rank, rank + width)
    for draw in (noise.uniform, noise.normal, noise.exponential, noise.rough_normal):
        together = draw(seed, "loss", steps[:, None], ranks)
        assert together.shape == (3, width)
        alone = [[draw(seed, "loss", int(s), int(r)).item() for r in ranks] for s in steps]
        assert together.tolist() == alone


@settings(max_examples=40)
@given(first=st.integers(0, 10**6), length=st.integers(1, 50), phi=st.floats(0.5, 0.985))
def test_persistent_noise_does_not_depend_on_where_one_begins(first: int, length: int, phi: float) -> None:
    whole = noise.persistent(7, "a", phi, np.arange(first, first + length))
    for offset in {0, length // 2, length - 1}:
        assert whole[offset] == noise.persistent(7, "a", phi, np.arange(first + offset, first + offset + 1))[0]


@pytest.mark.parametrize("phi", [0.72, 0.9, 0.95])
def test_persistent_noise_remembers_as_long_as_it_says(phi: float) -> None:
    values = noise.persistent(5, "a", phi, MANY)
    assert values.std() == pytest.approx(1, abs=0.05)
    for lag in (1, 2, 5, 10):
        assert acf(values, lag) == pytest.approx(phi**lag, abs=0.06)


@given(seed=SEEDS, first=COUNTERS, counter=COUNTERS)
def test_numbers_that_are_asked_for_again_and_again_have_the_same_bits(seed: int, first: int, counter: int) -> None:
    """Kept hashes and kept knots change nothing."""
    ranks = np.arange(first, first + 5)
    assert (
        noise.RoughNormals(seed, "a", ranks).at(counter).tolist()
        == noise.rough_normal(seed, "a", ranks, counter).tolist()
    )
    wander = noise.Wander(seed, "a", 60.0, ranks)
    for second in (counter / 7, counter / 7 + 30.0, counter / 7 + 61.0, counter / 7 - 200.0):
        assert wander.at(second).tolist() == noise.smooth(seed, "a", 60.0, second, ranks).tolist()


def test_smooth_noise_is_continuous_and_forgets() -> None:
    seconds = np.arange(0.0, 60_000.0, 5.0)
    values = np.array([noise.smooth(1, "air", 240.0, float(second), np.arange(3)) for second in seconds])
    assert np.abs(np.diff(values, axis=0)).max() < 0.25  # 5 of 240 seconds
    assert values.std() == pytest.approx(1, abs=0.12)
    assert abs(acf(values[:, 0], 3 * 48)) < 0.25


def test_draws_are_where_they_belong() -> None:
    for seed in range(50):
        draws = noise.Draws(seed, "curve")
        assert 2 <= draws.between("a", 2, 3) <= 3
        assert 0.01 <= draws.log("b", 0.01, 10) <= 10
        assert draws.between("a", 0, 1) == noise.Draws(seed, "curve").between("a", 0, 1)
    assert 0.2 < np.mean([noise.Draws(seed, "x").chance("y", 0.3) for seed in range(400)]) < 0.4
    logs = np.log10([noise.Draws(seed, "x").log("z", 0.01, 1) for seed in range(400)])
    assert logs.mean() == pytest.approx(-1, abs=0.1)
