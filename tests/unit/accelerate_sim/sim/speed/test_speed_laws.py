"""Laws of speed and memory that hold for any layout, whatever the constants."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from accelerate_sim import catalog
from accelerate_sim.config.checks.conflicts import conflicts
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.sim.memory.fit import misfit
from accelerate_sim.sim.memory.memory import peak_memory_use
from accelerate_sim.sim.plan import Plan

MODELS = ("llama-3.2-1b", "llama-3-8b", "llama-2-13b", "gpt3-175b", "mixtral-8x7b", "deepseek-v3", "qwen3-30b-a3b")
GPUS = ("A100-80-SXM", "H100-SXM", "H200-SXM", "B200", "GB300", "MI300X")


@st.composite
def plans(draw: st.DrawFn) -> dict[str, Any]:
    """Configs whose keys agree."""
    model, gpu = draw(st.sampled_from(MODELS)), draw(st.sampled_from(GPUS))
    pipeline = draw(st.sampled_from([1, 1, 2, 4]))
    tensor, context = draw(st.sampled_from([1, 2, 4, 8])), draw(st.sampled_from([1, 1, 2]))
    nodes = 8 * 2 ** draw(st.integers(0, 4))
    micro = draw(st.sampled_from([1, 2]))
    length = draw(st.sampled_from([512, 2048, 8192]))  # short ones wait for the host
    per_node = catalog.gpu(gpu).gpus_per_node
    replicas = nodes * per_node // (tensor * pipeline * context)
    raw = {
        "model": model,
        "cluster": {"nodes": nodes, "gpus_per_node": per_node, "gpu": gpu},
        "parallel": {
            "tensor": tensor, "pipeline": pipeline, "context": context,
            "expert": draw(st.sampled_from([1, 4, 8, 32, 64])) if catalog.model(model).architecture.moe else 1,
            "sharding": draw(st.sampled_from(["ddp", "zero1", "zero2", "fsdp"])),
            "sequence": draw(st.sampled_from([None, True, False])),
            "tensor_overlap": draw(st.sampled_from([None, True, False])),
            "virtual_stages": draw(st.sampled_from([1, 2])) if pipeline > 1 else 1,
        },
        "train": {
            "sequence_length": length, "micro_batch": micro,
            "global_batch": micro * max(1, replicas) * draw(st.sampled_from([1, 4, 8])),
            "recompute": draw(st.sampled_from(["none", "selective", "full"])),
            "stack": draw(st.sampled_from(catalog.stack_names())),
            "compiled": draw(st.booleans()),
        },
    }  # fmt: skip
    assume(replicas >= 1 and not conflicts(RunConfig.model_validate(raw)))
    return raw


def plan(raw: dict[str, Any], **sections: dict[str, Any]) -> Plan:
    """The plan of a config with some keys changed."""
    changed = {section: {**raw.get(section, {}), **values} for section, values in sections.items()}
    return Plan(RunConfig.model_validate({**raw, **changed}))


def held(one: Plan) -> float:
    """Bytes that have to be there."""
    return one.memory.least


def tokens_per_s(one: Plan) -> float:
    return one.layout.tokens_per_step / one.step_parts.total


@settings(max_examples=30, deadline=None)
@given(raw=plans())
def test_parts_are_seconds_and_bytes_and_sum_up(raw: dict[str, Any]) -> None:
    one = plan(raw)
    for parts, total in ((one.step_parts.parts(), one.step_parts.total), (one.memory.parts(), one.memory.total)):
        assert all(0 <= part < math.inf for part in parts.values())
        assert sum(parts.values()) == pytest.approx(total)
    assert one.memory.allocated < one.memory.reserved < one.memory.total


@settings(max_examples=30, deadline=None)
@given(raw=plans())
def test_no_run_beats_its_matrix_units(raw: dict[str, Any]) -> None:
    """Causal FLOPs without recomputation, over the best that was measured."""
    one = plan(raw)
    causal = one.model.architecture.flops_per_token(one.layout.sequence_length, causal=True)
    flops = tokens_per_s(one) * causal
    assert flops / one.layout.world_size < one.gpu.matmul_flops


def levels(one: Plan) -> list[int]:
    """Reach of the groups that grow or spread with the cluster: nowhere, inside an NVLink domain, beyond it."""
    layout = one.layout
    groups = [layout.shard_ranks, layout.copy_ranks, layout.expert_copies]
    stages_apart = layout.world_size // layout.pipeline >= layout.nvlink_domain
    return [(group.size > 1) + (group.num_domains > 1) for group in groups] + [int(stages_apart)]


SLOW_NICS = [1, 10, 50, 400]


@settings(max_examples=50, deadline=None)
@given(raw=plans(), nodes=st.sampled_from([1, 2, 8, 64]), nic_gbps=st.sampled_from(SLOW_NICS))
def test_more_gpus_with_as_much_for_each_train_more_tokens(raw: dict[str, Any], nodes: int, nic_gbps: int) -> None:
    """Within one level of the network: a group that leaves its NVLink domain may lose more than the GPUs bring."""
    scale, batch = nodes / raw["cluster"]["nodes"], raw["train"]["global_batch"]
    assume(batch * scale >= 1 and batch * scale == int(batch * scale))
    raw["cluster"] |= {"nodes": nodes, "nic_gbps": nic_gbps}
    raw["train"]["global_batch"] = int(batch * scale)
    assume(not conflicts(RunConfig.model_validate(raw)))
    few = plan(raw)
    more = plan(raw, cluster={"nodes": 2 * nodes}, train={"global_batch": 2 * raw["train"]["global_batch"]})
    assume(levels(few) == levels(more))
    assert tokens_per_s(more) >= tokens_per_s(few)


def test_the_first_node_beyond_an_nvlink_domain_can_cost_more_than_it_brings() -> None:
    """Gradients that NVLink carried go over a NIC of 10 Gb/s, a thousandth as fast: the exception of the law above."""
    layout = {"tensor": 1, "sharding": "ddp"}
    one, two = (
        plan({"model": "llama-3.2-1b", "cluster": {"nodes": nodes, "gpu": "H100-SXM", "gpus_per_node": 1,
                                                  "nic_gbps": 10},
              "parallel": layout, "train": {"global_batch": 2 * nodes}})
        for nodes in (1, 2)
    )  # fmt: skip
    assert levels(one) != levels(two)
    assert tokens_per_s(two) < tokens_per_s(one)


@settings(max_examples=100, deadline=None)
@given(raw=plans(), slow=st.sampled_from([10, 50, 100, 400]), faster=st.floats(1, 8))
def test_a_faster_network_is_never_slower(raw: dict[str, Any], slow: float, faster: float) -> None:
    before, after = (plan(raw, cluster={"nic_gbps": rate}).step_parts.total for rate in (slow, slow * faster))
    assert after <= before * (1 + 1e-9)


@pytest.mark.parametrize("stack", catalog.stack_names())
def test_tokens_that_reach_their_experts_sooner_leave_no_more_to_wait_for(stack: str) -> None:
    """Experts over several nodes, layers so short that the host sets the pace: what is saved may not come back."""
    for model, tensor in itertools.product(["qwen3-30b-a3b", "deepseek-v2-lite"], [1, 4]):
        raw = {
            "model": model, "cluster": {"nodes": 16, "gpu": "B200"}, "parallel": {"tensor": tensor, "expert": 32},
            "train": {"sequence_length": 1024, "global_batch": 2048, "stack": stack},
        }  # fmt: skip
        every = [plan(raw, cluster={"nic_gbps": rate}).step_parts for rate in (50, 100, 200, 400, 800)]
        totals = [one.total for one in every]
        assert totals == sorted(totals, reverse=True), (model, tensor)
        for slower, faster in itertools.pairwise(every):
            saved = slower.expert_comm - faster.expert_comm
            assert faster.launch - slower.launch <= saved + 1e-9, (model, tensor)


@settings(max_examples=50, deadline=None)
@given(raw=plans(), model=st.sampled_from(["llama-3.2-1b", "llama-3-8b"]), tensor=st.sampled_from([2, 4, 8]))
def test_overlapping_tensor_communication_is_never_slower(raw: dict[str, Any], model: str, tensor: int) -> None:
    raw["model"], raw["parallel"]["expert"] = model, 1
    raw["parallel"]["tensor"] = tensor
    assume(not conflicts(RunConfig.model_validate(raw)))
    apart, behind = (plan(raw, parallel={"tensor_overlap": overlap}).step_parts.total for overlap in (False, True))
    assert behind <= apart * (1 + 1e-9)


@settings(max_examples=50, deadline=None)
@given(raw=plans(), longer=st.integers(1, 64))
def test_longer_sequences_never_take_less_time(raw: dict[str, Any], longer: int) -> None:
    length = raw["train"]["sequence_length"] + 64 * longer
    short, long = (
        plan(raw, train={"sequence_length": size}).step_parts.total for size in (length - 64 * longer, length)
    )
    assert long >= short


@settings(max_examples=30, deadline=None)
@given(raw=plans(), share=st.floats(0, 1), more=st.floats(0, 1))
def test_recomputing_more_takes_longer_and_holds_less(raw: dict[str, Any], share: float, more: float) -> None:
    low, high = sorted((share, more))
    assume(high < 1)
    little, much = (plan(raw, train={"recompute": "selective", "recompute_share": size}) for size in (low, high))
    assert little.step_parts.total <= much.step_parts.total * (1 + 1e-9)
    assert held(much) <= held(little) * (1 + 1e-9)


@settings(max_examples=50, deadline=None)
@given(raw=plans(), length=st.sampled_from([512, 4096, 32768, 131072]), virtual=st.sampled_from([1, 2, 4]))
def test_none_selective_and_full_take_ever_longer_and_hold_ever_less(
    raw: dict[str, Any], length: int, virtual: int
) -> None:
    """Whatever the software, the length of sequences and the number of layers; conflicts do not matter here."""
    raw["parallel"]["virtual_stages"] = virtual if raw["parallel"]["pipeline"] > 1 else 1
    kinds = [plan(raw, train={"recompute": kind, "sequence_length": length}) for kind in ("none", "selective", "full")]
    for less, more in itertools.pairwise(kinds):
        assert less.step_parts.total <= more.step_parts.total * (1 + 1e-9)
        assert held(more) <= held(less) * (1 + 1e-9)
    assert kinds[0].step_parts.recompute == 0 < kinds[1].step_parts.recompute < kinds[2].step_parts.recompute


@settings(max_examples=30, deadline=None)
@given(raw=plans(), capacity=st.floats(1, 1e13))
def test_a_smaller_gpu_holds_what_is_needed_and_no_more(raw: dict[str, Any], capacity: float) -> None:
    use = peak_memory_use(plan(raw).model.architecture, plan(raw).layout, plan(raw).method)
    there = use.within(capacity)
    assert there.least == use.least and there.allocated == use.allocated
    assert there.total == pytest.approx(max(use.least, min(use.total, capacity)))
    assert there.buffers >= 0


@settings(max_examples=30, deadline=None)
@given(raw=plans(), nudge=st.sampled_from([1 - 1e-6, 1 + 1e-6]))
def test_nothing_jumps(raw: dict[str, Any], nudge: float) -> None:
    """A millionth more or less of a link moves the step by no more than that."""
    base, other = (plan(raw, cluster={"nic_gbps": 400 * rate}).step_parts.total for rate in (1, nudge))
    assert other == pytest.approx(base, rel=2e-6)


@pytest.mark.parametrize("model", ["llama-3-8b", "mixtral-8x7b"])
def test_a_little_longer_sequences_take_a_little_longer(model: str) -> None:
    """By their tokens, or slightly more for attention; by less while they fill time that weights are waited for."""
    times = [
        plan({"model": model, "parallel": {"tensor": 1}}, train={"sequence_length": length}).step_parts.total
        for length in range(4096, 4096 + 65 * 16, 64)
    ]
    growth = [later / sooner for sooner, later in itertools.pairwise(times)]
    assert all(1.002 < rate < 1.03 for rate in growth)


@settings(max_examples=30, deadline=None)
@given(raw=plans())
def test_more_memory_never_fits_less(raw: dict[str, Any]) -> None:
    assume(raw["cluster"]["gpus_per_node"] == 8)
    small, large = (plan(raw, cluster={"gpu": gpu}) for gpu in ("H100-SXM", "H200-SXM"))
    assert small.memory.least == large.memory.least
    assert misfit(small) or not misfit(large)


@settings(max_examples=30, deadline=None)
@given(raw=plans())
def test_sharding_more_never_holds_more(raw: dict[str, Any]) -> None:
    raw["parallel"] |= {"pipeline": 1, "virtual_stages": 1, "sequence": None}
    assume(not conflicts(RunConfig.model_validate(raw)))
    states = []
    for how in ("ddp", "zero1", "zero2"):
        use = plan(raw, parallel={"sharding": how}, train={"gradient_bytes": 4}).memory
        states.append(use.weights + use.gradients + use.optimizer)
    assert states == sorted(states, reverse=True)


@settings(max_examples=20, deadline=None)
@given(raw=plans(), size=st.sampled_from([1, 2, 4, 8]))
def test_smaller_shard_groups_hold_more(raw: dict[str, Any], size: int) -> None:
    raw["parallel"]["sharding"] = "fsdp"
    some = RunConfig.model_validate({**raw, "parallel": {**raw["parallel"], "shard_group": size}})
    assume(not conflicts(some))
    assert Plan(some).memory.optimizer >= plan(raw).memory.optimizer


def test_low_precision_and_newer_software_are_faster() -> None:
    def speed(**train: Any) -> float:
        return tokens_per_s(plan({"cluster": {"gpu": "B200"}}, train=train))

    assert speed(precision="bf16") < speed(precision="mxfp8") and speed(precision="bf16") < speed(precision="fp8")
    assert speed(stack="no-overlap") < speed(stack="megatron-core")
    assert speed(stack="torchtitan") < speed(stack="torchtitan", compiled=True)
    assert speed() > speed(blocking_launches=True)
    experts = {"model": "qwen3-30b-a3b", "parallel": {"tensor": 1, "expert": 8}}
    assert tokens_per_s(plan(experts, train={"release": 25})) < tokens_per_s(plan(experts, train={"release": 26.5}))
