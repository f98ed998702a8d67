"""What holds for the speed and memory of any layout, whatever the constants."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from accelerate_sim import catalog
from accelerate_sim.config.conflicts import conflicts
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.sim.fit import misfit
from accelerate_sim.sim.memory import peak_memory_use
from accelerate_sim.sim.plan import Plan

MODELS = ("llama-3-8b", "llama-2-13b", "gpt3-175b", "mixtral-8x7b", "deepseek-v3", "qwen3-30b-a3b")
GPUS = ("A100-80-SXM", "H100-SXM", "H200-SXM", "B200", "GB300", "MI300X")


@st.composite
def plans(draw: st.DrawFn) -> dict[str, Any]:
    """Configs whose keys agree."""
    model, gpu = draw(st.sampled_from(MODELS)), draw(st.sampled_from(GPUS))
    pipeline = draw(st.sampled_from([1, 1, 2, 4]))
    tensor, context = draw(st.sampled_from([1, 2, 4])), draw(st.sampled_from([1, 1, 2]))
    nodes = 8 * 2 ** draw(st.integers(0, 4))
    micro = draw(st.sampled_from([1, 2]))
    per_node = catalog.gpu(gpu).gpus_per_node
    replicas = nodes * per_node // (tensor * pipeline * context)
    raw = {
        "model": model,
        "cluster": {"nodes": nodes, "gpus_per_node": per_node, "gpu": gpu},
        "parallel": {
            "tensor": tensor, "pipeline": pipeline, "context": context,
            "expert": draw(st.sampled_from([1, 4, 8])) if catalog.model(model).architecture.moe else 1,
            "sharding": draw(st.sampled_from(["ddp", "zero1", "zero2", "fsdp"])),
            "sequence": draw(st.sampled_from([None, True, False])),
        },
        "train": {
            "sequence_length": 2048, "micro_batch": micro,
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


@settings(max_examples=60, deadline=None)
@given(raw=plans())
def test_parts_are_seconds_and_bytes_and_sum_up(raw: dict[str, Any]) -> None:
    one = plan(raw)
    for parts, total in ((one.step_parts.parts(), one.step_parts.total), (one.memory.parts(), one.memory.total)):
        assert all(0 <= part < math.inf for part in parts.values())
        assert sum(parts.values()) == pytest.approx(total)
    assert one.memory.allocated < one.memory.reserved < one.memory.total


@settings(max_examples=60, deadline=None)
@given(raw=plans())
def test_no_run_beats_its_matrix_units(raw: dict[str, Any]) -> None:
    """Causal FLOPs without recomputation, over the best that was measured."""
    one = plan(raw)
    flops = tokens_per_s(one) * one.model.architecture.flops_per_token(2048, causal=True)
    assert flops / one.layout.world_size < one.gpu.matmul_flops


@settings(max_examples=60, deadline=None)
@given(raw=plans())
def test_more_gpus_with_as_much_for_each_train_more_tokens(raw: dict[str, Any]) -> None:
    nodes, batch = raw["cluster"]["nodes"], raw["train"]["global_batch"]
    more = plan(raw, cluster={"nodes": 2 * nodes}, train={"global_batch": 2 * batch})
    assert tokens_per_s(more) >= tokens_per_s(plan(raw))


@settings(max_examples=60, deadline=None)
@given(raw=plans(), faster=st.floats(1, 8))
def test_a_faster_network_is_never_slower(raw: dict[str, Any], faster: float) -> None:
    slow, fast = (plan(raw, cluster={"nic_gbps": 50 * rate}).step_parts.total for rate in (1, faster))
    assert fast <= slow * (1 + 1e-9)


@settings(max_examples=60, deadline=None)
@given(raw=plans(), share=st.floats(0, 1), more=st.floats(0, 1))
def test_recomputing_more_takes_longer_and_holds_less(raw: dict[str, Any], share: float, more: float) -> None:
    low, high = sorted((share, more))
    assume(high < 1)
    little, much = (plan(raw, train={"recompute": "selective", "recompute_share": size}) for size in (low, high))
    assert little.step_parts.total <= much.step_parts.total * (1 + 1e-9)
    assert held(much) <= held(little) * (1 + 1e-9)


@settings(max_examples=100, deadline=None)
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


@settings(max_examples=60, deadline=None)
@given(raw=plans(), capacity=st.floats(1, 1e13))
def test_a_smaller_gpu_holds_what_is_needed_and_no_more(raw: dict[str, Any], capacity: float) -> None:
    use = peak_memory_use(plan(raw).model.architecture, plan(raw).layout, plan(raw).method)
    there = use.within(capacity)
    assert there.least == use.least and there.allocated == use.allocated
    assert there.total == pytest.approx(max(use.least, min(use.total, capacity)))
    assert there.buffers >= 0


@settings(max_examples=60, deadline=None)
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


@settings(max_examples=60, deadline=None)
@given(raw=plans())
def test_more_memory_never_fits_less(raw: dict[str, Any]) -> None:
    assume(raw["cluster"]["gpus_per_node"] == 8)
    small, large = (plan(raw, cluster={"gpu": gpu}) for gpu in ("H100-SXM", "H200-SXM"))
    assert small.memory.least == large.memory.least
    assert misfit(small) or not misfit(large)


@settings(max_examples=60, deadline=None)
@given(raw=plans())
def test_sharding_more_never_holds_more(raw: dict[str, Any]) -> None:
    raw["parallel"]["pipeline"], raw["parallel"]["sequence"] = 1, None
    assume(not conflicts(RunConfig.model_validate(raw)))
    states = []
    for how in ("ddp", "zero1", "zero2"):
        use = plan(raw, parallel={"sharding": how}, train={"gradient_bytes": 4}).memory
        states.append(use.weights + use.gradients + use.optimizer)
    assert states == sorted(states, reverse=True)


@settings(max_examples=40, deadline=None)
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
