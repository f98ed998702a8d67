"""Incidents: small disturbances that come now and then."""

from __future__ import annotations

import time
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelerate_sim.sim.disturbances.incidents import Incident, Incidents

STEPS = 20_000


def cluster(seed: int, gpus: int = 64, memory_share: float = 0.6, step_s: float = 17.5) -> Incidents:
    """Like configs/llama70b.yaml."""
    return Incidents(seed, gpus, memory_share, step_s)


@cache
def incidents(seed: int, memory_share: float = 0.6) -> list[Incident]:
    return cluster(seed, memory_share=memory_share).during(0, STEPS)


def test_they_come_now_and_then() -> None:
    """Every thousand steps or so, for some dozen steps each, to any rank; never in the first steps."""
    counts = []
    for seed in range(40):
        found = incidents(seed)
        counts.append(len(found))
        assert all(12 <= each.stop - each.start < 60 for each in found)
        assert all(each.start >= 25 for each in found)
        starts = [each.start for each in found]
        assert starts == sorted(starts)
        ranks = {each.rank for each in found}
        assert len(ranks) > 0.6 * len(found)
        assert ranks <= set(range(64))
    assert np.mean(counts) == pytest.approx(19.4, rel=0.15)  # three in 3,000 steps
    assert 3 < np.std(counts) < 6.5  # Poisson's: 4.4


@pytest.mark.parametrize(("gpus", "step_s"), [(4, 17.5), (64, 0.05), (1024, 17.5), (16_384, 65.0), (100_000, 60.0)])
def test_they_come_with_gpus_and_with_time(gpus: int, step_s: float) -> None:
    """In proportion to time and, up to 64, to GPUs; beyond, to their fifth root, as slow ones are kept out."""
    counts = [len(cluster(seed, gpus, step_s=step_s).during(0, 3999)) for seed in range(10)]
    expected = 0.2 * min(gpus / 64, (gpus / 64) ** 0.2) * (4000 - 25) * step_s / 3600 * len(counts)
    assert sum(counts) == pytest.approx(expected, abs=4 * expected**0.5 + 1)


def test_a_large_cluster_warns_a_few_times_in_some_hours() -> None:
    """16,384 GPUs in 3,000 steps of 6.5 s: their operators see none to six warnings, not one every three minutes."""
    warnings = [
        sum(len(large.noticed_at(step)) for step in range(3000))
        for large in (cluster(seed, 16_384, step_s=6.5) for seed in range(8))
    ]
    assert 1 < np.mean(warnings) < 5
    assert max(warnings) < 9


def test_only_the_worst_is_warned_of() -> None:
    """A hundred thousand GPUs that have dozens at any time give hardly more warnings than a tenth as many."""
    warned = {}
    for gpus in (64, 10_000, 100_000):
        large = cluster(1, gpus, step_s=6000.0)  # a hundred years of a laptop: two begin in a step
        steps = range(1000)
        noticed = [large.noticed_at(step) for step in steps]
        for step, found in zip(steps, noticed, strict=True):
            present = large.during(step, step)
            assert all(each in present and each.noticed == step for each in found)
            assert all(each.excess(step) == max(other.excess(step) for other in present) for each in found)
        warned[gpus] = sum(map(len, noticed))
    assert 20 < warned[64] < 120
    assert warned[64] / 2 < warned[10_000] < 110
    assert warned[10_000] / 2 < warned[100_000] < 110  # a step in ten or so, of two thousand that begin


@pytest.mark.parametrize(
    ("gpus", "step_s", "memory_share"),
    [(64, 17.5, 0.6), (1024, 200.0, 0.95), (16_384, 650.0, 0.6), (100_000, 600.0, 0.6)],
)
def test_mean_slowdown_is_that_of_many_draws(gpus: int, step_s: float, memory_share: float) -> None:
    runs = [cluster(seed, gpus, memory_share, step_s) for seed in range(400 if gpus == 64 else 40)]
    drawn = np.mean([each.slowdown(np.arange(1000, 2000)).mean() for each in runs])
    assert drawn - 1 == pytest.approx(runs[0].mean_slowdown - 1, rel=0.2 if gpus == 64 else 0.06)


@given(gpus=st.integers(1, 200_000), more=st.floats(1.0, 50.0), step_s=st.floats(0.01, 100.0))
def test_more_gpus_wait_longer(gpus: int, more: float, step_s: float) -> None:
    """But not in proportion: everyone waits for the slowest alone."""
    few, many = cluster(1, gpus, step_s=step_s), cluster(1, round(gpus * more), step_s=step_s)
    assert 1 <= few.mean_slowdown <= many.mean_slowdown < 1.4
    assert many.mean_slowdown - 1 <= (few.mean_slowdown - 1) * round(gpus * more) / gpus * (1 + 1e-9) + 1e-12


def test_a_tenth_of_a_million_gpus_is_quick() -> None:
    """Thousands of incidents, looked at in a block of steps."""
    large = cluster(3, 100_000, step_s=30.0)
    large.slowdown(np.arange(256))
    begin = time.process_time()
    large.slowdown(np.arange(256, 512))
    assert time.process_time() - begin < 0.5


def test_hot_and_slow_happen_and_full_memory_where_it_is_tight() -> None:
    roomy, tight = ([each.kind for seed in range(10) for each in incidents(seed, share)] for share in (0.6, 0.95))
    assert set(roomy) == {"hot", "slow"}
    assert 0.3 < roomy.count("hot") / len(roomy) < 0.6
    assert set(tight) == {"hot", "slow", "memory"}


def test_everyone_waits_for_the_slowest() -> None:
    """During an incident all steps are slower, by what it is at most; otherwise none is."""
    troubled = cluster(3)
    factor = troubled.slowdown(np.arange(STEPS))
    expected = np.ones(STEPS, bool)
    for each in troubled.during(0, STEPS - 1):
        inside = slice(each.start, min(each.stop, STEPS))
        expected[inside] = False
        at_once = troubled.during(each.start, each.stop - 1)
        assert factor[inside].max() <= max(other.slowdown for other in at_once) + 1e-12
        assert factor[(each.start + each.stop) // 2] > 1 + 0.99 * (each.slowdown - 1)
    assert (factor[expected] == 1).all()
    assert (factor[~expected] > 1).all()


@given(first=st.integers(0, STEPS), length=st.integers(0, 500))
def test_one_finds_them_from_anywhere(first: int, length: int) -> None:
    """A look at some steps sees what touches them, whoever looked before."""
    seen = cluster(5).during(first, first + length)
    assert (
        seen == [each for each in incidents(5) if each.start <= first + length and each.stop > first]
        or first + length > STEPS
    )


@given(st.integers(0, 1000))
def test_warning_comes_while_it_lasts(seed: int) -> None:
    for each in incidents(seed)[:5]:
        assert each.start < each.noticed < each.stop
        assert each.strength(each.noticed) > 0.8
        assert each.strength(each.start - 1) == each.strength(each.stop) == 0
