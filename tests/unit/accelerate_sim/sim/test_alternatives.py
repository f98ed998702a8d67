"""Near layouts, faster or not."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelerate_sim.config.checks.conflicts import conflicts
from accelerate_sim.config.load import ConfigSource
from accelerate_sim.sim.alternatives import WORTH_A_KEY, near_layouts
from accelerate_sim.sim.memory.fit import misfit, settings
from accelerate_sim.sim.plan import Plan
from tests.support.repository import CONFIGS

SHIPPED = sorted(CONFIGS.glob("*.yaml"))
SLOW = ("train.recompute=full", "parallel.tensor=8", "train.micro_batch=1")
TUNED = ("model=gpt2", "cluster.nodes=1", "parallel.tensor=1", "train.sequence_length=1024", "train.recompute=none",
         "train.micro_batch=16", "parallel.sharding=ddp")  # fmt: skip


def plan(*overrides: str, path: Path | None = None) -> Plan:
    return Plan(ConfigSource.read(path, overrides).resolve())


def speed(run: Plan) -> float:
    return run.layout.tokens_per_step / run.step_parts.total


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_they_are_what_the_plan_says_with_these_keys(path: Path) -> None:
    run = plan(path=path)
    for other in near_layouts(run):
        changed = plan(*settings(other.changes), path=path)
        assert not conflicts(changed.config) and misfit(changed) is None
        assert changed.layout.world_size == run.layout.world_size
        assert changed.layout.tokens_per_step == run.layout.tokens_per_step
        assert speed(changed) == pytest.approx(other.tokens_per_s)
        assert other.speed == pytest.approx(speed(changed) / speed(run))
        assert changed.memory.total == pytest.approx(other.memory_bytes)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_no_two_of_them_are_the_same_and_none_is_what_is_there(path: Path) -> None:
    run = plan(path=path)
    found = near_layouts(run)
    assert len({other.about for other in found}) == len(found)
    for other in found:
        changed = plan(*settings(other.changes), path=path)
        assert (changed.step_parts, changed.memory) != (run.step_parts, run.memory)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_second_change_is_worth_it(path: Path) -> None:
    """Over each of the two alone, where that is possible."""
    for other in near_layouts(plan(path=path)):
        share = [change for change in settings(other.changes) if change == "train.recompute_share=null"]
        moves = [change for change in settings(other.changes) if change not in share]
        if len(moves) == 1:
            continue
        for move in moves:
            alone = ConfigSource.read(path, [move, *share] if "recompute" in move else [move]).resolve()
            if conflicts(alone) or misfit(Plan(alone)):
                continue
            assert other.tokens_per_s >= WORTH_A_KEY * speed(Plan(alone)) * (1 - 1e-9)


def test_a_wasteful_layout_has_faster_ones() -> None:
    found = near_layouts(plan(*SLOW))
    assert len(found) == 3
    assert [other.speed for other in found] == sorted((other.speed for other in found), reverse=True)
    assert all(other.speed > 1.02 for other in found)
    assert any("train.recompute" in other.changes for other in found)


def test_a_tuned_layout_has_three_all_the_same() -> None:
    """Near alternatives are shown although they are slower, with one change each."""
    found = near_layouts(plan(*TUNED))
    assert len(found) == 3
    slower = [other for other in found if other.speed < 1]
    assert slower
    assert all(len(other.changes) == 1 for other in slower)


def test_neighbours_of_the_number_of_chunks_are_tried() -> None:
    """5 chunks of 20 layers a stage; 10 divide them as well, and with few micro-batches halve a large bubble."""
    run = plan("parallel.pipeline=4", "parallel.virtual_stages=5", "parallel.sharding=zero1", "train.micro_batch=1",
               "train.global_batch=8", "train.recompute=none")  # fmt: skip
    assert near_layouts(run)[0].changes == {"parallel.virtual_stages": 10}


@pytest.mark.parametrize("kind", ["none", "full"])
def test_another_kind_of_recomputation_comes_without_the_share_of_this_one(kind: str) -> None:
    """A reason that is given for all alternatives holds for each."""
    path = next(path for path in SHIPPED if path.stem == "llama405b")
    run = plan("train.micro_batch=1", "cluster.gpu=H200-SXM", path=path)
    assert run.config.train.recompute_share
    other = plan(f"train.recompute={kind}", "train.recompute_share=null", "cluster.gpu=H200-SXM", path=path)
    share = other.step_parts.recompute / other.step_parts.total
    assert share == 0 if kind == "none" else share > 0.15
    for found in near_layouts(run):
        if "train.recompute" in found.changes:
            assert found.changes["train.recompute_share"] is None


def test_a_share_of_recomputation_is_varied() -> None:
    path = next(path for path in SHIPPED if path.stem == "llama405b")
    texts = [other.text for other in near_layouts(plan(path=path))]
    assert any(text.startswith("train.recompute_share=0.2") for text in texts), texts


def test_imposed_times_are_left_alone() -> None:
    assert near_layouts(plan(*SLOW, "impose.step_time_s=[1, 2]")) == []
