"""Hardware faults: their kinds, their rates, and the driver's messages."""

from __future__ import annotations

import math
from collections import Counter
from functools import cache
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelerate_sim.sim.disturbances.faults import CAUSES, PUBLISHED_RATE, Cause, FleetFaults

DAY_S = 86_400.0
SECONDS = st.floats(0.0, 1e7)


def llama(seed: int = 1) -> FleetFaults:
    return FleetFaults(seed, 16_384, PUBLISHED_RATE)


def test_the_published_fleet_breaks_as_published() -> None:
    """419 unexpected interruptions in 54 days on 16,384 GPUs, one in three hours."""
    assert llama().expected(54 * DAY_S) == pytest.approx(419, rel=0.02)
    assert llama().mtbf_s == pytest.approx(3.1 * 3600, rel=0.02)
    counts = [len(list(llama(seed).between(0, 54 * DAY_S))) for seed in range(12)]
    assert np.mean(counts) == pytest.approx(425, rel=0.05)
    assert 10 < np.std(counts) < 35  # of a Poisson process: 20.6


def test_causes_have_their_published_shares() -> None:
    """Three of five are GPUs, a third of all a faulty one."""
    found = [fault for seed in range(8) for fault in llama(seed).between(0, 54 * DAY_S)]
    names = Counter(fault.cause.name for fault in found)
    assert sum(cause.count for cause in CAUSES) == 419
    for cause in CAUSES[:5]:
        assert names[cause.name] / len(found) == pytest.approx(cause.count / 419, abs=0.025)
    gpu = sum(share for name, share in names.items() if "GPU" in name) / len(found)
    assert gpu == pytest.approx(0.62, abs=0.03)
    assert all(0 <= fault.rank < 16_384 for fault in found)
    assert len({fault.rank for fault in found}) > 0.8 * len(found)


def test_without_a_rate_nothing_breaks() -> None:
    calm = FleetFaults(1, 16_384, 0.0)
    assert list(calm.between(0, 1e9)) == []
    assert math.isinf(calm.mtbf_s)
    assert calm.expected(1e9) == 0


@settings(max_examples=40)
@given(begin=SECONDS, length=st.floats(0, 4e5), cut=st.floats(0, 1))
def test_faults_are_the_same_from_anywhere(begin: float, length: float, cut: float) -> None:
    """A look at two halves sees what a look at the whole sees."""
    middle = begin + cut * length
    whole = list(llama().between(begin, begin + length))
    assert whole == [*llama().between(begin, middle), *llama().between(middle, begin + length)]
    assert [fault.second for fault in whole] == sorted(fault.second for fault in whole)


def test_huge_fleets_break_as_often_as_they_should() -> None:
    """Also where an hour has hundreds of faults."""
    counts = [len(list(FleetFaults(2, 10**6, 1e-3).between(hour * 3600.0, (hour + 1) * 3600.0))) for hour in range(40)]
    assert np.mean(counts) == pytest.approx(1000, rel=0.03)
    assert 20 < np.std(counts) < 45


@cache
def xids() -> dict[str, Counter[int | None]]:
    """Reported faults of 40 such fleets, by cause."""
    found: dict[str, Counter[int | None]] = {cause.name: Counter() for cause in CAUSES}
    for seed in range(40):
        for fault in llama(seed).between(0, 54 * DAY_S):
            found[fault.cause.name][fault.xid] += 1
    return found


@pytest.mark.parametrize("cause", [cause for cause in CAUSES if cause.xids], ids=lambda cause: cause.name)
def test_xids_have_their_shares(cause: Cause) -> None:
    """Within four standard deviations of so many draws; the rest is silent."""
    drawn = xids()[cause.name]
    total, shares = drawn.total(), dict(cause.xids)
    assert sum(shares.values()) <= 1 + 1e-9
    for xid, share in [*shares.items(), (None, 1 - sum(shares.values()))]:
        noise = (share * (1 - share) * total) ** 0.5
        assert drawn[xid] == pytest.approx(share * total, abs=4 * noise + 1e-6)
    assert set(drawn) <= {*shares, None}


def test_xids_mean_what_the_catalogue_says() -> None:
    """An application's errors are no broken hardware; what only follows another code is never the first."""
    software, hardware = {13, 31, 43}, {48, 63, 64, 74, 79, 94, 95, 119, 120}
    for cause in CAUSES:
        codes = {xid for xid, _ in cause.xids}
        assert codes <= (software if cause.name == "software bug" else hardware)
    faulty = xids()["faulty GPU"]
    assert faulty[79] > faulty[74] > 0
    assert not {48, 63, 64, 94, 95} & set(faulty)  # these are of the memory, which is counted for itself


def test_all_come_at_once_or_one_by_one() -> None:
    """Nobody draws a year to see the first two."""
    faults = FleetFaults(1, 100_000, 1.0)
    few = list(islice(faults.between(0, 1e12), 2))
    assert few == list(faults.between(0, few[1].second + 1e-9))
