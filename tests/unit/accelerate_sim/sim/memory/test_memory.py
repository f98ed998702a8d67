"""Bytes on a GPU."""

from __future__ import annotations

from typing import Any

import pytest

from accelerate_sim import catalog
from accelerate_sim.catalog import Architecture
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.sim.layout import Layout
from accelerate_sim.sim.memory.memory import MemoryUse, memory_use, peak_memory_use
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
    return peak_memory_use(LLAMA, layout(**changes), method(recompute, gradient_bytes=4))


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
    assert 18 / 64 * LLAMA.parameters < states("fsdp") < (18 / 64 + 10 * 2 / 80) * LLAMA.parameters


def test_layers_in_the_hosts_memory_take_their_activations_along() -> None:
    whole, half, none = (
        memory_use(LLAMA, layout(), method("none", offloaded_layers=layers)) for layers in (0, 40, 200)
    )
    assert half.activations == pytest.approx(whole.activations / 2) and none.activations == 0
    assert (half.weights, half.optimizer, half.working) == (whole.weights, whole.optimizer, whole.working)


def test_logits_of_a_loss_in_chunks_are_there_one_chunk_at_a_time() -> None:
    whole, eighths = (memory_use(LLAMA, layout(), method("none", loss_chunks=chunks)) for chunks in (1, 8))
    assert eighths.logits == pytest.approx(whole.logits / 8) and whole.logits > 0
    assert (eighths.activations, eighths.weights) == (whole.activations, whole.weights)


def test_what_takes_less_in_some_software() -> None:
    """Gradients, inputs of fp8 products, logits: of recipes that say so, and in the precision that it is about."""
    here, there = (method(stack=stack, precision="fp8") for stack in ("megatron-core", "megatron-2024"))
    narrow, wide = (memory_use(LLAMA, layout(sharding="zero1"), one) for one in (here, there))
    assert wide.gradients == 2 * narrow.gradients
    assert wide.logits == 2.5 * narrow.logits  # 10 bytes and 4
    in_bf16 = memory_use(LLAMA, layout(sharding="zero1"), method(stack="megatron-core"))
    in_fp8 = memory_use(LLAMA, layout(sharding="zero1"), method(stack="megatron-core", precision="fp8"))
    assert 0.8 < in_fp8.activations / in_bf16.activations < 0.9
    titan = [
        memory_use(LLAMA, layout(), method(stack="torchtitan", precision=precision)) for precision in ("bf16", "fp8")
    ]
    assert titan[0] == titan[1]  # casts again in the backward pass; 62.0 and 61.8 GiB in its own table


def test_weights_that_are_kept_for_a_step_are_whole_while_gradients_are_not_there_yet() -> None:
    """AutoModel's experts: with one micro-batch gradients come as weights go; with more they stay."""
    qwen = catalog.model("qwen3-30b-a3b").architecture
    spread = {"expert": 8, "sequence_length": 4096}
    kept, anew = (
        memory_use(qwen, layout(global_batch=64, **spread), method(stack=stack, optimizer_precision="bf16"))
        for stack in ("automodel", "torchtitan")
    )
    assert kept.weights > anew.weights + qwen.parameters / 8
    assert kept.gradients == 0 < anew.gradients
    more = memory_use(qwen, layout(global_batch=128, **spread), method(stack="automodel", optimizer_precision="bf16"))
    assert more.weights == kept.weights and more.gradients > 0


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
    sizes = [use(micro_batch=size, global_batch=512).activations for size in (1, 2, 4)]
    assert sizes == pytest.approx([sizes[0], 2 * sizes[0], 4 * sizes[0]])
    assert use(sequence_length=16384).activations == pytest.approx(2 * sizes[0])


def test_first_stage_of_a_pipeline_holds_most_activations() -> None:
    """As many micro-batches are in flight as there are stages from here on; the last one has the logits."""
    deep = layout(pipeline=4, sharding="zero1", tensor=2)
    first, last = (memory_use(LLAMA, deep, method(), stage) for stage in (0, 3))
    assert first.activations == pytest.approx(4 * last.activations)
    assert (first.logits, last.logits > 0) == (0, True)
    assert peak_memory_use(LLAMA, deep, method()).total == max(first.total, last.total)


@pytest.mark.parametrize(("accumulation", "chunks"), [(16, (19, 13)), (8, (19, 13)), (4, (16, 13))])
def test_interleaved_stages_hold_chunks_of_many_micro_batches(accumulation: int, chunks: tuple[int, int]) -> None:
    """Narayanan et al. 2021: before its first backward pass, stage r of p with v chunks has begun 2 (p - r - 1) +
    (v - 1) p + 1 chunks; here p = v = 4. No more than there are in a step.
    """
    deep = layout(pipeline=4, virtual_stages=4, sharding="zero1", tensor=2, global_batch=8 * accumulation)
    plain = memory_use(LLAMA, layout(sharding="zero1", tensor=2), method()).activations / LLAMA.layers
    first, last = (memory_use(LLAMA, deep, method(), stage).activations / plain for stage in (0, 3))
    assert (first / 5, last / 5) == pytest.approx(chunks)  # 5 layers in a chunk


def test_two_moments_are_reserved_and_the_larger_is_allocated() -> None:
    """The logits are gone when a layer computes again what it has not kept; the allocator's blocks are still there.

    torchtitan's benchmarks of December 2024: 8B on 8 H100, sequences of 32,768, 83.9 GiB reserved.
    """
    model = catalog.model("llama-3-8b").architecture
    long = layout(nodes=1, sequence_length=32768, global_batch=8)
    one = peak_memory_use(model, long, method("full", stack="torchtitan", precision="fp8"))
    assert one.reserved / GIB == pytest.approx(83.9, rel=0.05)
    assert one.logits > 0.5 * one.reserved and one.working > 2 * GIB
    assert one.allocated + one.working + one.buffers == pytest.approx(one.reserved)
    assert one.allocated < one.least - one.context < one.reserved
    tight = one.within(86 * GIB)
    assert (tight.total, tight.allocated) == (pytest.approx(86 * GIB), one.allocated)
    assert one.within(200 * GIB) == one
    assert one.within(40 * GIB).total == pytest.approx(one.least)  # does not fit


def test_runs_that_took_place_fit() -> None:
    """MosaicML's llm-foundry tables, 2023, and Llama 3 405B (Dubey et al. 2024), which recomputed nothing."""
    foundry = catalog.stack("llm-foundry").name
    mpt = Architecture(family="gpt2", layers=24, hidden=1536, heads=12, ffn=6144, vocab=50368, context=2048)
    small = layout(nodes=1, sequence_length=2048, micro_batch=24, global_batch=384)
    assert peak_memory_use(mpt, small, method("none", stack=foundry)).least < 80 * GIB
    herd = layout(nodes=2048, tensor=8, pipeline=16, virtual_stages=8, sequence_parallel=True, global_batch=2048)
    model = catalog.model("llama-3.1-405b").architecture
    assert peak_memory_use(model, herd, method("none", stack="megatron-2024")).least < 79.65 * GIB


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
    """Nearly all of Mixtral's parameters are experts: with 8 of them on 8 GPUs each has little more than one."""
    mixtral = catalog.model("mixtral-8x7b").architecture
    together, apart = (
        memory_use(mixtral, layout(sharding="zero1", expert=expert), method()).weights for expert in (1, 8)
    )
    assert together == pytest.approx(2 * mixtral.parameters)
    assert 1 / 8 < apart / together < 1 / 6


@pytest.mark.parametrize("micro_batch", [4, 8])
def test_gradients_made_anew_share_their_room_with_activations(micro_batch: int) -> None:
    """Mistral 7B in bf16 with Hugging Face's trainer on one GPU: 67.46 GiB with either micro-batch (fms-acceleration).

    Weights, gradients, two moments and the roots of one in the optimizer's step, whatever the activations before.
    """
    mistral = catalog.model("mistral-7b").architecture
    one = layout(nodes=1, gpus_per_node=1, sharding="ddp", sequence_length=4096, global_batch=micro_batch,
                 micro_batch=micro_batch)  # fmt: skip
    trainer = method("full", stack="hf-trainer", optimizer_precision="bf16")
    use = peak_memory_use(mistral, one, trainer)
    assert use.allocated / GIB == pytest.approx(67.46, rel=0.02)
    assert all(part >= 0 for part in use.parts().values())


def test_a_second_micro_batch_finds_the_gradients_of_the_first() -> None:
    mistral = catalog.model("mistral-7b").architecture
    trainer = method("full", stack="hf-trainer", optimizer_precision="bf16")
    sizes = [
        peak_memory_use(
            mistral,
            layout(nodes=1, gpus_per_node=1, sharding="ddp", sequence_length=4096, global_batch=batch, micro_batch=8),
            trainer,
        ).gradients
        for batch in (8, 16)
    ]
    assert sizes[1] == 2 * mistral.parameters
    assert sizes[0] < 0.6 * sizes[1]
