"""Bytes on a GPU."""

from __future__ import annotations

from typing import Any

import pytest

from accelerate_sim import catalog
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.sim.layout import Layout
from accelerate_sim.sim.memory import MemoryUse, memory_use, peak_memory_use
from accelerate_sim.sim.method import Method

LLAMA = catalog.model("llama-3-70b").architecture
GIB = 2**30


def layout(**changes: Any) -> Layout:
    figures: dict[str, Any] = {
        "nodes": 8, "gpus_per_node": 8, "nvlink_domain": 8, "tensor": 1, "pipeline": 1, "context": 1, "expert": 1,
        "virtual_stages": 1, "sharding": "fsdp", "sequence_length": 8192, "global_batch": 128, "micro_batch": 1,
    }  # fmt: skip
    return Layout(**figures | changes)


def method(recompute: str = "selective", **train: Any) -> Method:
    return Method.of(RunConfig.model_validate({"train": {"recompute": recompute, **train}}))


def use(recompute: str = "selective", **changes: Any) -> MemoryUse:
    return peak_memory_use(LLAMA, layout(**changes), method(recompute))


def states(sharding: str) -> float:
    one = use(sharding=sharding)
    return one.weights + one.gradients + one.optimizer


def test_parts_sum_to_the_whole() -> None:
    one = use()
    assert sum(one.parts().values()) == pytest.approx(one.total, rel=1e-12)
    assert all(part >= 0 for part in one.parts().values())


def test_states_are_those_of_zero() -> None:
    """Rajbhandari et al. 2020, table 1; gradients are fp32 until everything is sharded. Bytes a parameter."""
    for sharding, per_parameter in {
        "ddp": 2 + 4 + 12,
        "zero1": 2 + 4 + 12 / 64,
        "zero2": 2 + (4 + 12) / 64,
    }.items():
        assert states(sharding) == pytest.approx(per_parameter * LLAMA.parameters)
    # Fully sharded, with two of 80 layers gathered at a time.
    assert 16 / 64 * LLAMA.parameters < states("fsdp") < (16 / 64 + 8 * 2 / 80) * LLAMA.parameters


def test_more_sharding_never_needs_more() -> None:
    sizes = [use(sharding=sharding).total for sharding in ("ddp", "zero1", "zero2", "zero3")]
    assert sizes == sorted(sizes, reverse=True)
    assert use(sharding="fsdp").total == use(sharding="zero3").total


@pytest.mark.parametrize("sharding", ["ddp", "zero1", "fsdp"])
def test_more_gpus_to_a_replica_never_need_more(sharding: str) -> None:
    by_tensor = [use(sharding=sharding, tensor=size).total for size in (1, 2, 4, 8)]
    assert by_tensor == sorted(by_tensor, reverse=True)
    by_context = [use(sharding=sharding, context=size).total for size in (1, 2, 4)]
    assert by_context == sorted(by_context, reverse=True)


def test_recomputing_saves_activations() -> None:
    none, selective, full = (use(recompute, tensor=8) for recompute in ("none", "selective", "full"))
    assert none.activations >= selective.activations > 4 * full.activations
    assert none.weights == full.weights


def test_longer_and_larger_micro_batches_need_more() -> None:
    sizes = [use(micro_batch=size).activations for size in (1, 2, 4)]
    assert sizes == pytest.approx([sizes[0], 2 * sizes[0], 4 * sizes[0]])
    assert use(sequence_length=16384).activations == pytest.approx(2 * sizes[0])


def test_first_stage_of_a_pipeline_holds_most_activations() -> None:
    """As many micro-batches are in flight as there are stages from here on; the last one has the logits."""
    deep = layout(pipeline=4, sharding="zero1", tensor=2)
    first, last = (memory_use(LLAMA, deep, method(), stage) for stage in (0, 3))
    assert first.activations == pytest.approx(4 * last.activations)
    assert (first.logits, last.logits > 0) == (0, True)
    assert peak_memory_use(LLAMA, deep, method()).total == max(first.total, last.total)


def test_known_layouts_need_what_was_reported() -> None:
    """Korthikanti et al. 2022, figure 1: activations of a layer of 34 T h / t bytes; Llama 2 70B trained in 80 GB.

    And nobody trains 70 billion parameters with plain data parallelism.
    """
    tokens, hidden = 8192, LLAMA.hidden
    per_layer = use(tensor=8, sequence_parallel=True).activations / LLAMA.layers
    assert 20 < per_layer / (tokens * hidden / 8) < 40
    assert 25 * GIB < use(tensor=8, sequence_parallel=True).total < 75 * GIB
    assert use(sharding="ddp").total > 1000 * GIB


def test_experts_are_shared_out() -> None:
    """Of Mixtral's parameters nearly all are experts: with 8 of them on 8 GPUs each has little more than one."""
    mixtral = catalog.model("mixtral-8x7b").architecture
    together, apart = (
        memory_use(mixtral, layout(sharding="zero1", expert=expert), method()).weights for expert in (1, 8)
    )
    assert together == pytest.approx(2 * mixtral.parameters)
    assert 1 / 8 < apart / together < 1 / 6
