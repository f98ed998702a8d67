"""Who sits where."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelerate_sim.sim.layout import Layout


def layout(**changes: Any) -> Layout:
    figures: dict[str, Any] = {
        "nodes": 8, "gpus_per_node": 8, "nvlink_domain": 8, "tensor": 8, "pipeline": 1, "context": 1, "expert": 1,
        "virtual_stages": 1, "sharding": "fsdp", "sequence_length": 8192, "global_batch": 128, "micro_batch": 1,
    }  # fmt: skip
    return Layout(**figures | changes)


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    tensor, context, pipeline, data = (2 ** draw(st.integers(0, most)) for most in (3, 2, 3, 4))
    world = tensor * context * pipeline * data
    per_node = min(8, world)
    micro, accumulation = draw(st.integers(1, 4)), draw(st.integers(1, 8))
    return layout(
        nodes=world // per_node, gpus_per_node=per_node, nvlink_domain=per_node, tensor=tensor, context=context,
        pipeline=pipeline, micro_batch=micro, global_batch=micro * accumulation * data,
    )  # fmt: skip


@given(layouts())
def test_degrees_multiply_to_the_world(one: Layout) -> None:
    assert one.tensor * one.pipeline * one.context * one.data == one.world_size == one.nodes * one.gpus_per_node
    assert one.micro_batch * one.data * one.accumulation == one.global_batch
    assert one.tokens_per_step == one.global_batch * one.sequence_length


@given(layouts())
def test_every_rank_has_one_place_in_each_kind_of_group(one: Layout) -> None:
    """Stage, replica and the place in the replica say which rank it is; groups are as large as their degree."""
    ranks = np.arange(one.world_size)
    stage, replica = one.stage(ranks), one.data_rank(ranks)
    inside = ranks % (one.tensor * one.context)
    assert len({*zip(stage.tolist(), replica.tolist(), inside.tolist(), strict=True)}) == one.world_size
    assert set(np.bincount(stage).tolist()) == {one.world_size // one.pipeline}
    assert set(np.bincount(replica).tolist()) == {one.model_parallel}
    node, local = one.node(ranks), one.local_rank(ranks)
    assert np.array_equal(node * one.gpus_per_node + local, ranks)
    assert set(np.bincount(node).tolist()) == {one.gpus_per_node}


@given(layouts())
def test_tensor_groups_stay_in_a_node_and_read_one_batch(one: Layout) -> None:
    groups = np.arange(one.world_size).reshape(-1, one.tensor)
    for place in (one.node, one.data_rank, one.stage):
        assert (place(groups) == place(groups[:, :1])).all()
    assert one.tensor_group.num_domains == 1


@given(layouts())
def test_groups_span_as_many_nodes_as_their_ranks_sit_in(one: Layout) -> None:
    ranks = np.arange(one.world_size)
    same = (one.stage(ranks) == 0) & (ranks % (one.tensor * one.context) == 0)
    data_group = ranks[same]
    assert len(data_group) == one.data_group.size
    assert len(set(one.node(data_group).tolist())) == one.data_group.num_domains
    assert one.world_group.num_domains == one.nodes


def test_rack_wide_nvlink_is_one_domain() -> None:
    """72 GPUs in machines of 4 talk NVLink to each other."""
    rack = layout(nodes=18, gpus_per_node=4, nvlink_domain=72, tensor=4)
    assert rack.data_group.num_domains == 1
    assert rack.world_group.num_domains == 1


@pytest.mark.parametrize(
    "changes, text",
    [
        ({}, "DP 8 x TP 8 (FSDP)"),
        ({"tensor": 1}, "DP 64 x TP 1 (FSDP)"),
        ({"pipeline": 2, "context": 2, "sharding": "zero1"}, "DP 2 x TP 8 x PP 2 x CP 2 (ZERO1)"),
        ({"tensor": 1, "expert": 8}, "DP 64 x TP 1, EP 8 (FSDP)"),
    ],
)
def test_layout_in_a_phrase(changes: dict[str, Any], text: str) -> None:
    assert layout(**changes).describe() == text
