"""What breaks, how often, and what it costs."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelerate_sim.sim.faults import CAUSES, PUBLISHED_RATE, Faults, Reliability, goodput, young_daly_s

DAY_S = 86_400.0
SECONDS = st.floats(0.0, 1e7)


def llama(seed: int = 1) -> Faults:
    return Faults(seed, 16_384, PUBLISHED_RATE)


def test_the_published_fleet_breaks_as_published() -> None:
    """419 unexpected interruptions in 54 days on 16,384 GPUs, one in three hours."""
    assert llama().expected(54 * DAY_S) == pytest.approx(419, rel=0.02)
    assert llama().mtbf_s == pytest.approx(3.1 * 3600, rel=0.02)
    counts = [len(llama(seed).between(0, 54 * DAY_S)) for seed in range(12)]
    assert np.mean(counts) == pytest.approx(425, rel=0.05)
    assert 10 < np.std(counts) < 35  # of a Poisson process: 20.6


def test_causes_have_their_published_shares() -> None:
    """Three of five are GPUs, a third of all a faulty one; Xids belong to their cause."""
    found = [fault for seed in range(8) for fault in llama(seed).between(0, 54 * DAY_S)]
    names = Counter(fault.cause.name for fault in found)
    assert sum(cause.count for cause in CAUSES) == 419
    for cause in CAUSES[:5]:
        assert names[cause.name] / len(found) == pytest.approx(cause.count / 419, abs=0.025)
    gpu = sum(share for name, share in names.items() if "GPU" in name) / len(found)
    assert gpu == pytest.approx(0.62, abs=0.03)
    assert all((fault.xid in fault.cause.xids) if fault.cause.xids else fault.xid is None for fault in found)
    assert all(0 <= fault.rank < 16_384 for fault in found)
    assert len({fault.rank for fault in found}) > 0.8 * len(found)


def test_without_a_rate_nothing_breaks() -> None:
    calm = Faults(1, 16_384, 0.0)
    assert calm.between(0, 1e9) == []
    assert math.isinf(calm.mtbf_s)
    assert calm.expected(1e9) == 0


@settings(max_examples=40)
@given(begin=SECONDS, length=st.floats(0, 4e5), cut=st.floats(0, 1))
def test_faults_are_the_same_from_anywhere(begin: float, length: float, cut: float) -> None:
    """A look at two halves sees what a look at the whole sees."""
    middle = begin + cut * length
    whole = llama().between(begin, begin + length)
    assert whole == [*llama().between(begin, middle), *llama().between(middle, begin + length)]
    assert [fault.second for fault in whole] == sorted(fault.second for fault in whole)


def test_huge_fleets_break_as_often_as_they_should() -> None:
    """Also where an hour has hundreds of faults."""
    counts = [len(Faults(2, 10**6, 1e-3).between(hour * 3600.0, (hour + 1) * 3600.0)) for hour in range(40)]
    assert np.mean(counts) == pytest.approx(1000, rel=0.03)
    assert 20 < np.std(counts) < 45


def test_stragglers_are_as_common_as_published() -> None:
    """Two of five jobs lose a tenth or more, 28 % in the mean; a single bad machine is rare and triples the time."""
    drawn = [Faults(seed, 1024, 0.0).straggling() for seed in range(3000)]
    slow = [each.slowdown for each in drawn if each.slowdown >= 1.1]
    assert len(slow) / len(drawn) == pytest.approx(0.425, abs=0.03)
    assert np.mean(slow) == pytest.approx(1.28, abs=0.03)
    bad = [each for each in drawn if each.bad_worker_rank is not None]
    assert len(bad) / len(slow) == pytest.approx(0.017, abs=0.012)
    assert {each.slowdown for each in bad} == {3.04}


@given(stall_s=st.floats(0.1, 600), mtbf_s=st.floats(1e4, 1e8), factor=st.floats(0.05, 20))
def test_no_interval_beats_young_and_dalys(stall_s: float, mtbf_s: float, factor: float) -> None:
    """To first order: where failures are rare against the time that a checkpoint takes."""
    best_s = young_daly_s(stall_s, mtbf_s)
    assert (
        goodput(best_s * factor, stall_s, 300.0, mtbf_s)
        <= goodput(best_s, stall_s, 300.0, mtbf_s) + 2 * (stall_s / best_s) ** 2
    )


@given(
    rate=st.floats(1e-6, 1e-3), worse=st.floats(1.0, 100.0), gpus=st.integers(8, 100_000), stall_s=st.floats(0.1, 300)
)  # fmt: skip
def test_more_failures_never_help(rate: float, worse: float, gpus: int, stall_s: float) -> None:
    """Neither goodput nor the time between failures; and one should save more often."""
    few, many = (
        Reliability.of(Faults(1, gpus, each), 30 * DAY_S, 3600.0, stall_s, 420.0) for each in (rate, rate * worse)
    )
    assert many.goodput <= few.goodput <= 1
    assert many.mtbf_s <= few.mtbf_s
    assert many.best_interval_s <= few.best_interval_s
    assert many.interruptions >= few.interruptions
    assert many.goodput >= 0


def test_a_healthy_run_gets_on_nine_tenths_of_the_time() -> None:
    """Llama 3 had more than 90 % of effective training time, with fast checkpoints and restarts."""
    found = Reliability.of(llama(), 54 * DAY_S, 600.0, 5.0, 420.0)
    assert 0.9 < found.goodput < 0.97
    assert found.best_goodput >= found.goodput - 0.002
