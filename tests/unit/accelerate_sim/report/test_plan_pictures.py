"""The facts behind the pictures of a plan: the order of a pipeline's passes, and the groups of ranks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelerate_sim.config.load import ConfigSource, Override
from accelerate_sim.config.shipped import find_config
from accelerate_sim.report.plan_pictures import group_numbers, one_f_one_b
from accelerate_sim.sim.layout import Layout
from accelerate_sim.sim.plan import Plan


@given(st.integers(1, 12), st.integers(1, 24))
def test_a_pipeline_is_idle_for_all_stages_but_one(stages: int, micro_batches: int) -> None:
    """Narayanan et al. 2021: the bubble is (stages - 1) / micro-batches of the work, each pass is made once."""
    passes = one_f_one_b(stages, micro_batches)
    for made in passes:
        assert sum(forward for forward, _, _ in made) == sum(not forward for forward, _, _ in made) == micro_batches
        ends = [begin + length for _, begin, length in made]
        assert all(begin >= end - 1e-9 for (_, begin, _), end in zip(made[1:], ends, strict=False))
    end = max(begin + length for made in passes for _, begin, length in made)
    assert end == 3.0 * (micro_batches + stages - 1)


def layout(*changes: str) -> Layout:
    source = ConfigSource.read(find_config("llama70b"), [Override(change) for change in changes])
    return Plan(source.resolve(1)).layout


@pytest.mark.parametrize(
    "changes", [(), ("parallel.tensor=4", "parallel.pipeline=4"), ("parallel.context=2", "parallel.tensor=2")]
)
def test_every_rank_is_in_one_group_of_each_kind(changes: tuple[str, ...]) -> None:
    planned = layout(*changes)
    sizes = {
        "tensor": planned.tensor, "context": planned.context, "data": planned.data, "pipeline": planned.pipeline,
    }  # fmt: skip
    groups = group_numbers(planned)
    assert groups.keys() == {name for name, size in sizes.items() if size > 1}
    for name, number in groups.items():
        found, counts = np.unique(number, return_counts=True)
        assert found.tolist() == list(range(planned.world_size // sizes[name]))
        assert set(counts.tolist()) == {sizes[name]}


def test_two_ranks_share_at_most_one_group() -> None:
    groups = list(group_numbers(layout("parallel.tensor=4", "parallel.pipeline=4")).values())
    together = np.sum([number[:, None] == number[None, :] for number in groups], axis=0)
    assert (together + len(groups) * -np.eye(len(together), dtype=int)).max() == 1


def test_stages_are_those_of_the_layout() -> None:
    planned = layout("parallel.tensor=4", "parallel.pipeline=4")
    rank = np.arange(planned.world_size)
    for number in (group_numbers(planned)["pipeline"],):
        members = [rank[number == group] for group in np.unique(number)]
        assert all(planned.stage(of).tolist() == [0, 1, 2, 3] for of in members)
