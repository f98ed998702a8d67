"""Near layouts that would be faster."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelerate_sim.config.conflicts import conflicts
from accelerate_sim.config.load import ConfigSource
from accelerate_sim.sim.alternatives import faster_layouts
from accelerate_sim.sim.fit import misfit
from accelerate_sim.sim.plan import Plan

CONFIGS = sorted((Path(__file__).parents[3] / "configs").glob("*.yaml"))
SLOW = ("train.recompute=full", "parallel.tensor=8", "train.micro_batch=1")


def plan(*overrides: str) -> Plan:
    return Plan(ConfigSource.read(None, overrides).resolve())


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_they_are_what_the_plan_says_with_these_keys(path: Path) -> None:
    run = Plan(ConfigSource.read(path).resolve())
    for other in faster_layouts(run):
        assert 1 <= len(other.changes) <= 2
        config = ConfigSource.read(path, [f"{key}={value}" for key, value in other.changes.items()]).resolve()
        changed = Plan(config)
        assert not conflicts(config) and misfit(changed) is None
        assert changed.layout.world_size == run.layout.world_size
        assert changed.layout.tokens_per_step == run.layout.tokens_per_step
        rate = changed.layout.tokens_per_step / changed.step_parts.total
        assert rate == pytest.approx(other.tokens_per_s)
        assert rate > run.layout.tokens_per_step / run.step_parts.total
        assert changed.memory.total == pytest.approx(other.memory_bytes)


def test_a_wasteful_layout_has_three() -> None:
    found = faster_layouts(plan(*SLOW))
    assert len(found) == 3
    assert [other.tokens_per_s for other in found] == sorted((other.tokens_per_s for other in found), reverse=True)
    assert any("train.recompute" in other.changes for other in found)
    assert len({frozenset(other.changes) for other in found}) == 3


def test_imposed_times_are_left_alone() -> None:
    assert faster_layouts(plan(*SLOW, "impose.step_time_s=[1, 2]")) == []
