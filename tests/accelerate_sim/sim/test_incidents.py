"""What goes slightly wrong now and then."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelerate_sim.sim.incidents import Incident, Incidents

STEPS = 20_000


def incidents(seed: int, memory_share: float = 0.6) -> list[Incident]:
    return Incidents(seed, 64, memory_share).during(0, STEPS)


def test_they_come_now_and_then() -> None:
    """Every few hundred steps, for some dozen steps each, to any rank; never in the first steps."""
    for seed in range(10):
        found = incidents(seed)
        assert 8 < len(found) < 40
        assert all(10 <= each.stop - each.start <= 60 for each in found)
        assert all(each.start >= 25 for each in found)
        starts = [each.start for each in found]
        assert starts == sorted(starts)
        ranks = {each.rank for each in found}
        assert len(ranks) > 0.6 * len(found)
        assert ranks <= set(range(64))


def test_hot_and_slow_happen_and_full_memory_where_it_is_tight() -> None:
    roomy, tight = ([each.kind for seed in range(10) for each in incidents(seed, share)] for share in (0.6, 0.95))
    assert set(roomy) == {"hot", "slow"}
    assert 0.3 < roomy.count("hot") / len(roomy) < 0.6
    assert set(tight) == {"hot", "slow", "memory"}


def test_everyone_waits_for_the_slowest() -> None:
    """During an incident all steps are slower, by what it is at most; otherwise none is."""
    troubled = Incidents(3, 64, 0.6)
    factor = troubled.slowdown(np.arange(STEPS))
    expected = np.ones(STEPS, bool)
    for each in troubled.during(0, STEPS - 1):
        inside = slice(each.start, min(each.stop, STEPS))
        expected[inside] = False
        at_once = troubled.during(each.start, each.stop - 1)
        assert factor[inside].max() <= max(other.slowdown for other in at_once)
        assert factor[(each.start + each.stop) // 2] > 1 + 0.99 * (each.slowdown - 1)
    assert (factor[expected] == 1).all()
    assert (factor[~expected] > 1).all()


@given(first=st.integers(0, STEPS), length=st.integers(0, 500))
def test_one_finds_them_from_anywhere(first: int, length: int) -> None:
    """A look at some steps sees what touches them, whoever looked before."""
    seen = Incidents(5, 64, 0.6).during(first, first + length)
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
        steps = np.arange(each.start - 2, each.stop + 2)
        assert each.strengths(steps).tolist() == pytest.approx([each.strength(int(step)) for step in steps])
