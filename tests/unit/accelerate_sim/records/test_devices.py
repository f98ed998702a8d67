"""A part of the GPUs of a record."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from accelerate_sim.api.source import planned_run
from accelerate_sim.gpu_condition import Condition
from accelerate_sim.monitoring.device_agent import DeviceAgent
from accelerate_sim.records import DeviceRecord


@pytest.fixture(scope="module")
def all_gpus() -> DeviceRecord:
    found = DeviceAgent(planned_run("debug", ["cluster.nodes=4", "cluster.gpus_per_node=2"])).read(10.0, {}, 0.0, 0)
    assert found
    return found


@pytest.mark.parametrize("ranks", [range(0, 2), range(2, 4), range(6, 8), range(0, 8)])
def test_every_figure_is_that_of_the_same_gpu(all_gpus, ranks):
    part = all_gpus.of(ranks)
    assert part.identities == all_gpus.identities[ranks.start : ranks.stop]
    for field in fields(DeviceRecord):
        whole, mine = getattr(all_gpus, field.name), getattr(part, field.name)
        if isinstance(whole, np.ndarray):
            assert mine.tolist() == whole[ranks.start : ranks.stop].tolist()
        elif field.name != "identities":
            assert mine == whole


def test_conditions_are_counted_from_the_first_of_them(all_gpus):
    ill = replace(all_gpus, conditions={1: Condition(xid=31), 3: Condition(xid=79)})
    assert ill.of(range(2, 4)).conditions == {1: Condition(xid=79)}
    assert ill.of(range(4, 6)).conditions == {}
