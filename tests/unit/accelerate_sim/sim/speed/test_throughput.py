"""Seconds of a step, against published runs and against what physics forbids."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelerate_sim import catalog
from accelerate_sim.catalog import Architecture, GpuSpec
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.sim.memory.memory import gathered_weight_bytes
from accelerate_sim.sim.plan import Plan
from accelerate_sim.sim.speed.kernels import Kernels
from accelerate_sim.sim.speed.network import Network
from accelerate_sim.sim.speed.replicas import Replicas
from accelerate_sim.sim.speed.step_parts import StepParts
from accelerate_sim.sim.speed.throughput import Throughput


def plan(raw: dict[str, Any]) -> Plan:
    return Plan(RunConfig.model_validate(raw))


def mfu(one: Plan) -> float:
    return one.mfu(one.layout.tokens_per_step / one.mean_step_s)


LLAMA = plan({})
LAYOUTS = [
    {"tensor": 8}, {"tensor": 4}, {"tensor": 1}, {"tensor": 8, "context": 2}, {"tensor": 8, "sharding": "zero1"},
    {"tensor": 4, "pipeline": 4, "sharding": "zero1"}, {"tensor": 2, "pipeline": 4, "virtual_stages": 5},
    {"tensor": 8, "sharding": "ddp"}, {"tensor": 8, "sharding": "zero2"},
]  # fmt: skip


def parts(layout: dict[str, Any], gpu: GpuSpec, nic_gbps: float = 400, recompute: str = "selective") -> StepParts:
    one = plan({"parallel": layout, "train": {"recompute": recompute}})
    network = Network.of(gpu, nic_gbps)
    return Throughput(one.model.architecture, gpu, one.layout, network, one.method).step()


H100 = catalog.gpu("H100-SXM")


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_parts_sum_to_the_step(layout: dict[str, Any]) -> None:
    one = parts(layout, H100)
    assert sum(one.parts().values()) == pytest.approx(one.total)
    assert all(part >= 0 for part in one.parts().values())


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_no_gpu_is_faster_than_its_best_matrix_product(layout: dict[str, Any]) -> None:
    """MFU without recomputation stays below measured over peak FLOP/s, counting the half of attention that is done."""
    one = plan({"parallel": layout})
    causal = one.model.architecture.flops_per_token(8192, causal=True)
    rate = one.layout.tokens_per_step / one.mean_step_s
    assert 0.05 < rate * causal / (64 * H100.bf16_flops) < H100.matmul_flops / H100.bf16_flops


@settings(max_examples=60)
@given(
    layout=st.sampled_from(LAYOUTS), faster=st.floats(1, 8),
    what=st.sampled_from(["matmul_flops", "bf16_flops", "memory_bytes_per_s", "nvlink_bytes_per_s", "nic"]),
)  # fmt: skip
def test_better_hardware_is_never_slower(layout: dict[str, Any], faster: float, what: str) -> None:
    """Neither its tensor cores, nor its memory, nor its links; up to the contention of overlapped communication."""
    base = parts(layout, H100).total
    if what == "nic":
        better = parts(layout, H100, nic_gbps=400 * faster)
    else:
        better = parts(layout, H100.model_copy(update={what: getattr(H100, what) * faster}))
    assert better.total <= base * (1 + 1e-9)


def test_recomputing_costs_time() -> None:
    """All of it a forward pass more, which may hide communication; only attention's core a few per cent."""
    none, selective, full = (parts({"tensor": 8}, H100, recompute=how) for how in ("none", "selective", "full"))
    assert none.total < selective.total < full.total
    forward = (none.matmul + none.attention + none.elementwise) / 3
    assert full.recompute == pytest.approx(forward, rel=0.2)
    assert 0 < selective.recompute < 0.2 * forward


def test_bubble_is_that_of_interleaved_pipelines() -> None:
    """(p - 1) / v stages of idling (Narayanan et al. 2021), whatever the number of micro-batches."""
    plain, interleaved = (
        parts({"tensor": 8, "pipeline": 4, "virtual_stages": virtual, "sharding": "zero1"}, H100) for virtual in (1, 5)
    )
    micro_batches = plan({"parallel": {"tensor": 8, "pipeline": 4}}).layout.accumulation
    busy = plain.matmul + plain.attention + plain.elementwise + plain.recompute + plain.tensor_comm
    assert plain.pipeline_bubble == pytest.approx(3 / micro_batches * busy, rel=0.05)
    assert interleaved.pipeline_bubble == pytest.approx(plain.pipeline_bubble / 5, rel=0.05)


def test_larger_batches_take_longer_and_waste_less() -> None:
    times = [plan({"train": {"global_batch": batch}}).mean_step_s for batch in (64, 128, 256)]
    assert times[0] < times[1] < times[2] <= 2 * times[1] <= 4 * times[0]


@pytest.mark.parametrize(
    "raw, published",
    [
        (  # Llama 3 405B on 16,384 H100: Dubey et al. 2024, table 4; gradients are added and reduced in fp32
            {"model": "llama-3.1-405b", "cluster": {"nodes": 2048},
             "train": {"global_batch": 2048, "recompute_share": 0.3, "stack": "megatron-2024", "gradient_bytes": 4},
             "parallel": {"tensor": 8, "pipeline": 16, "virtual_stages": 8}},
            0.41,
        ),
        (  # MPT-7B on 8 A100: llm-foundry's table
            {"model": "mpt-7b", "cluster": {"nodes": 1, "gpu": "A100-80-SXM"}, "parallel": {"tensor": 1},
             "train": {"global_batch": 48, "micro_batch": 6, "sequence_length": 2048, "recompute": "none",
                       "stack": "llm-foundry"}},
            0.64,
        ),
    ],
    ids=["llama 405b", "mpt 7b"],
)  # fmt: skip
def test_published_runs_are_matched(raw: dict[str, Any], published: float) -> None:
    assert mfu(plan(raw)) == pytest.approx(published, rel=0.06)


def test_experts_use_their_gpus_less_than_dense_models() -> None:
    mixtral = {"model": "mixtral-8x7b", "parallel": {"tensor": 1, "expert": 8}, "train": {"global_batch": 512}}
    dense = {"model": "llama-2-13b", "parallel": {"tensor": 1}, "train": {"global_batch": 512, "sequence_length": 4096}}
    assert 0.1 < mfu(plan(mixtral)) < mfu(plan(dense)) < 0.65


def test_validation_is_a_forward_pass() -> None:
    """A third of a training micro-batch, or a little more; everything that is shown of it is positive."""
    training = LLAMA.mean_step_s / LLAMA.layout.accumulation
    assert 0.2 < LLAMA.evaluation_batch_s / training < 0.55


# --- Weights and gradients over the replicas --------------------------------------------------


def with_method(one: Plan, **changes: Any) -> StepParts:
    """The step of a plan with parts of its method changed."""
    return Throughput(one.model.architecture, one.gpu, one.layout, one.network, replace(one.method, **changes)).step()


def replicas(one: Plan, **changes: Any) -> Replicas:
    """The exchange between replicas of a plan with parts of its method changed."""
    changed = replace(one.method, **changes)
    return Replicas(one.model.architecture, one.layout, one.network, changed, catalog.constants())


REPLICAS = {"tensor": 4, "pipeline": 4, "sharding": "zero1"}


def test_a_tied_head_on_another_stage_has_gradients_to_add_up() -> None:
    one = plan({"parallel": REPLICAS, "cluster": {"nic_gbps": 50}})
    tied = one.model.architecture.model_copy(update={"tied_embeddings": True})
    apart, alone = (
        Throughput(model, one.gpu, one.layout, one.network, one.method).step().data_comm
        for model in (tied, one.model.architecture)
    )
    sent = 2 * tied.embedding_parameters / 4
    # Two ranks, over one NIC each. The last stage is not the fullest, so nothing else changes but by its factors.
    slower = catalog.constants()[f"stack.{one.method.stack.name}"] * catalog.constants()["community_slowness"]
    assert apart - alone == pytest.approx(slower * sent / (0.74 * 50e9 / 8), rel=0.1)


def test_gradients_in_bf16_take_half_the_time_of_fp32() -> None:
    one = plan({"parallel": REPLICAS, "cluster": {"nic_gbps": 50}})
    half, whole, wider = (replicas(one, gradient_bytes=size).waiting_s(1.0) for size in (2, 4, 6))
    assert half < whole == wider


def test_weights_are_gathered_in_fp8_where_one_scale_does() -> None:
    one = plan({"parallel": {"tensor": 1, "sharding": "fsdp"}, "cluster": {"nic_gbps": 50}})
    bf16, fp8, mxfp8 = (gathered_weight_bytes(replace(one.method, precision=p)) for p in ("bf16", "fp8", "mxfp8"))
    assert (bf16, fp8, mxfp8) == (2, 1, 2)
    assert gathered_weight_bytes(replace(one.method, precision="fp8", stack=catalog.stack("maxtext"))) == 2


def test_interleaved_stages_hide_more_of_the_gradients() -> None:
    """Bubbles apart: there is more to do when the first gradients are ready."""
    plain, interleaved = (
        plan({"parallel": {**REPLICAS, "virtual_stages": v}, "cluster": {"nic_gbps": 50}}).step_parts for v in (1, 4)
    )
    assert interleaved.data_comm < 0.9 * plain.data_comm


def test_a_pipeline_hides_less_of_the_gradients_than_one_stage() -> None:
    """All stages wait for the one whose links are busy, so growing clusters feel it in pipelines most."""
    one = plan({"parallel": {**REPLICAS, "pipeline": 1}, "train": {"precision": "bf16"}})
    shared = {**catalog.constants(), "data_contention_pipelined": 0.0}
    parts_of = [
        Throughput(one.model.architecture, one.gpu, layout, one.network, one.method, constants).step().data_comm
        for layout in (one.layout, plan({"parallel": REPLICAS}).layout)
        for constants in (None, shared)
    ]
    assert parts_of[0] == parts_of[1]
    assert parts_of[2] > parts_of[3]


def test_weights_are_cast_to_fp8_once_for_all_micro_batches() -> None:
    """Twice as many micro-batches of a small size take less than twice the time of their products."""
    few, many = (
        plan({"train": {"precision": "fp8", "micro_batch": 1, "global_batch": batch}}).step_parts for batch in (64, 128)
    )
    assert few.matmul < many.matmul < 1.995 * few.matmul


SHARDED_EXPERTS: dict[str, Any] = {
    "model": "qwen3-30b-a3b", "cluster": {"nodes": 8, "nic_gbps": 50},
    "parallel": {"tensor": 1, "expert": 8, "sharding": "fsdp"},
    "train": {"sequence_length": 4096, "micro_batch": 1, "stack": "automodel"},
}  # fmt: skip


def test_weights_that_are_kept_for_a_step_are_gathered_once_for_all_micro_batches() -> None:
    """AutoModel keeps those of models with experts; torchtitan gathers them anew for each pass."""
    waits = {}
    for stack in ("automodel", "torchtitan"):
        for batch in (64, 256):
            one = plan(
                {**SHARDED_EXPERTS, "train": {**SHARDED_EXPERTS["train"], "stack": stack, "global_batch": batch}}
            )
            waits[stack, batch] = replicas(one).waiting_s(0.1)
    assert waits["automodel", 256] == waits["automodel", 64] < waits["torchtitan", 64]
    assert waits["torchtitan", 256] > 3.5 * waits["torchtitan", 64]
    dense = {**SHARDED_EXPERTS, "model": "llama-3-8b", "parallel": {"tensor": 1, "sharding": "fsdp"}}
    few, many = (plan({**dense, "train": {**dense["train"], "global_batch": batch}}) for batch in (64, 256))
    assert replicas(many).waiting_s(0.1) > 3.5 * replicas(few).waiting_s(0.1)


def test_a_sharded_pipeline_gathers_its_stage_once_a_step() -> None:
    """The backward pass finds the weights of the forward pass: it waits for gradients alone."""
    one = plan({"parallel": {**REPLICAS, "sharding": "fsdp"}, "cluster": {"nic_gbps": 50}})
    exchange = replicas(one)
    assert exchange.waiting_s(0.0) == pytest.approx(
        exchange.network.seconds("all_gather", 2 * exchange.held.dense, one.layout.shard_ranks)
        + exchange.network.seconds(
            "reduce_scatter", exchange.gradient_bytes * exchange.held.dense, one.layout.shard_ranks
        )
    )


def test_gradients_are_added_to_those_of_earlier_micro_batches() -> None:
    """Whole gradients are read and written; those that are reduced at once are not added to whole ones."""

    def adding_s(sharding: str, batch: int = 512, **train: Any) -> float:
        one = plan({"parallel": {"tensor": 8, "sharding": sharding}, "train": {"global_batch": batch, **train}})
        kernels = Kernels(one.model.architecture, one.gpu, one.layout, one.method, catalog.constants())
        return kernels.gradients_s()

    fp32, bf16 = (adding_s("zero1", gradient_bytes=size) for size in (4, 2))
    assert fp32 > 2 * bf16 > 0
    assert adding_s("zero1", batch=8, gradient_bytes=2) == 0 == adding_s("fsdp")
    # Larger micro-batches add gradients less often.
    small, large = (
        plan({"parallel": {"tensor": 8, "sharding": "zero1"},
              "train": {"global_batch": 512, "micro_batch": micro, "sequence_length": 2048}}).mean_step_s
        for micro in (1, 2)
    )  # fmt: skip
    assert large < small


def test_narrow_experts_gain_less_from_fp8_than_wide_ones() -> None:
    """Groups of small products lose as many seconds in every format."""
    gains = []
    for model in ("qwen3-30b-a3b", "mixtral-8x7b"):
        bf16, fp8 = (
            plan({"model": model, "parallel": {"tensor": 1, "expert": 8}, "train": {"precision": precision}})
            for precision in ("bf16", "fp8")
        )
        gains.append(bf16.step_parts.matmul / fp8.step_parts.matmul)
    assert 1 < gains[0] < gains[1] < 2


def test_the_host_takes_longer_to_split_tokens_over_more_experts() -> None:
    few, many = (
        plan({"model": "mixtral-8x7b", "parallel": {"tensor": 1, "expert": expert}}).step_parts.launch
        for expert in (8, 2)
    )
    assert few < many


def test_software_that_its_gpus_maker_does_not_tune_takes_longer() -> None:
    one = plan({"train": {"stack": "torchtitan"}})
    assert one.method.stack.kind == "community"
    tuned = replace(one.method, stack=one.method.stack.model_copy(update={"kind": "maker"}))
    theirs, makers = (
        Throughput(one.model.architecture, one.gpu, one.layout, one.network, method).step().total
        for method in (one.method, tuned)
    )
    assert theirs / makers == pytest.approx(catalog.constants()["community_slowness"])
    assert theirs > makers


def test_products_of_experts_want_wider_multiples_than_others() -> None:
    """A width of 22 1/2 times 128 is whole for one product, and not for the products of many experts in one launch."""
    one = plan({})
    kernels = Kernels(one.model.architecture, one.gpu, one.layout, one.method, catalog.constants())

    def each_s(width: int, count: int) -> float:
        return kernels.matmul_s(8192, width, width, count=count) / (count * width**2)

    assert each_s(2880, 1) < 1.02 * each_s(2816, 1)
    assert each_s(2880, 8) > 1.1 * each_s(2816, 8)


def test_a_hybrid_model_runs_and_its_recurrence_is_part_of_the_step() -> None:
    one = plan({"model": "nemotron-3-nano-30b-a3b", "train": {"stack": "megatron-core", "sequence_length": 8192},
                "parallel": {"tensor": 2, "expert": 8, "sharding": "zero1"}, "cluster": {"nodes": 1}})  # fmt: skip
    model, known = one.model.architecture, catalog.constants()
    usual, slower = (
        Throughput(model, one.gpu, one.layout, one.network, one.method, {**known, "mamba_share": share}).step()
        for share in (known["mamba_share"], known["mamba_share"] / 2)
    )
    assert slower.elementwise > 1.1 * usual.elementwise and slower.matmul == usual.matmul
    pattern = str(model.hybrid_pattern).replace("M", "-")
    plain = Architecture(**model.model_dump() | {"hybrid_pattern": pattern, "mamba": None})
    assert usual.tensor_comm == pytest.approx(parts_of(plain, one).tensor_comm), "one reduction for each block"
    assert 0 < usual.attention < 0.3 * usual.total


def parts_of(model: Architecture, one: Plan) -> StepParts:
    return Throughput(model, one.gpu, one.layout, one.network, one.method).step()
