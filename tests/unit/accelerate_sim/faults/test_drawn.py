"""Drawn faults: in order, on few machines, with repeats, and one in ten of them implicit."""

from __future__ import annotations

from collections import Counter
from itertools import islice, pairwise

import pytest

from accelerate_sim.config.load import ConfigSource
from accelerate_sim.faults.drawn import drawn_faults
from accelerate_sim.faults.fault import Fault
from accelerate_sim.faults.targets import hit_by
from accelerate_sim.sim.run import Run
from tests.support.repository import ROOT

COUNT = 3000


@pytest.fixture(scope="module")
def run() -> Run:
    return Run(ConfigSource.read(ROOT / "configs/chaos.yaml", ["cluster.nodes=63", "train.global_batch=126"]).resolve())


@pytest.fixture(scope="module")
def faults(run: Run) -> list[Fault]:
    return list(islice(drawn_faults(run), COUNT))


def second(fault: Fault) -> float:
    assert fault.at.time_s is not None
    return fault.at.time_s


def test_they_come_in_order_and_have_names_of_their_own(faults: list[Fault]) -> None:
    assert all(second(earlier) <= second(later) for earlier, later in pairwise(faults))
    assert len({fault.id for fault in faults}) == COUNT


def test_the_same_run_draws_the_same(run: Run, faults: list[Fault]) -> None:
    assert list(islice(drawn_faults(run), 50)) == faults[:50]


def test_three_of_63_machines_have_most_of_the_faults_of_machines(run: Run, faults: list[Fault]) -> None:
    failed = [fault for fault in faults if fault.kind == "nodefail"]
    nodes = Counter(hit_by(fault.targets, run.layout, 1, 0).nodes for fault in failed)
    assert 0.3 < sum(count for _, count in nodes.most_common(3)) / len(failed) < 0.9


def test_one_in_ten_is_implicit_and_most_of_those_hang(faults: list[Fault]) -> None:
    first = [fault for fault in faults if fault.id.count("-") == 1]
    kinds = Counter(fault.kind for fault in first)
    implicit = kinds["hang"] + kinds["slow"] + kinds["nan"]
    assert 0.09 < implicit / len(first) < 0.16
    assert kinds["hang"] > 5 * kinds["slow"] > 0


def test_a_third_comes_again_with_the_same_words(faults: list[Fault]) -> None:
    known = {fault.id: fault for fault in faults}
    again = [fault for fault in faults if fault.id.endswith("-again-1")]
    assert 0.2 < len(again) / sum(fault.id.count("-") == 1 for fault in faults) < 0.4
    for fault in again:
        before = known[fault.id.removesuffix("-again-1")]
        assert (fault.kind, fault.targets, fault.params) == (before.kind, before.targets, before.params)
        assert second(fault) - second(before) > 9 * 60
