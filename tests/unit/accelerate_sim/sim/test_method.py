"""The software that runs: what a GPU, or experts spread over many, ask of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from accelerate_sim import catalog
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.sim.method import Method, dispatcher_on, release_of, running_stack
from accelerate_sim.sim.plan import Plan
from accelerate_sim.sim.speed.kernels import Kernels
from accelerate_sim.sim.speed.network import Network
from accelerate_sim.sim.speed.throughput import Throughput

H100, A100, B300, MI300X = (catalog.gpu(name) for name in ("H100-SXM", "A100-80-SXM", "B300", "MI300X"))


@pytest.mark.parametrize("old", ["deepspeed", "megatron-2021", "megatron-deepspeed"])
def test_software_without_kernels_for_a_gpu_is_followed_by_its_successor(old: str) -> None:
    assert running_stack(old, A100).name == old
    for gpu in (H100, B300, MI300X):
        later = running_stack(old, gpu)
        assert later.release > catalog.stack(old).release and later.attention != "unfused"


def test_every_successor_exists_and_needs_none() -> None:
    for name in catalog.stack_names():
        if successor := catalog.stack(name).successor:
            assert catalog.stack(successor).successor is None


def test_software_is_no_older_than_its_gpu_or_than_its_way_to_spread_experts() -> None:
    fsdp = catalog.stack("fsdp")
    assert release_of(fsdp, H100, 1) == fsdp.release
    assert release_of(fsdp, H100, 8) == fsdp.expert_release
    assert release_of(fsdp, B300, 1) == 25.5


def test_a_release_that_the_config_gives_is_kept() -> None:
    config = RunConfig.model_validate({"cluster": {"gpu": "B300"}, "train": {"release": 24.1}})
    assert Method.of(config).release == 24.1


EXPERTS: dict[str, Any] = {"model": "deepseek-v3", "cluster": {"nodes": 32, "gpu": "B300", "nic_gbps": 400},
           "parallel": {"tensor": 1, "pipeline": 8, "expert": 32, "sharding": "zero1"},
           "train": {"sequence_length": 4096, "global_batch": 1024, "micro_batch": 1,
                     "stack": "megatron-2024"}}  # fmt: skip


def step_s(fabric: str = "infiniband", graphs: str = "none", **parallel: Any) -> float:
    raw = {**EXPERTS, "cluster": {**EXPERTS["cluster"], "fabric": fabric}}
    raw["train"] = {**EXPERTS["train"], "cuda_graphs": graphs}
    return Plan(RunConfig.model_validate({**raw, "parallel": {**EXPERTS["parallel"], **parallel}})).step_parts.total


def test_tokens_that_cross_a_link_once_arrive_sooner() -> None:
    assert step_s(dispatcher="deepep") < step_s(dispatcher="alltoall") == step_s()
    assert step_s(dispatcher="hybridep") < step_s(dispatcher="deepep")


def test_the_more_kernels_graphs_launch_the_less_the_gpu_waits() -> None:
    """Only a graph of the whole step ends the wait for counts of tokens; what is sent stays the same."""
    for dispatcher in ("alltoall", "hybridep"):
        waits = [step_s(graphs=graphs, dispatcher=dispatcher) for graphs in ("none", "router", "layer", "step")]
        assert waits == sorted(waits, reverse=True) and waits[2] > waits[3]
    saved = [step_s(dispatcher=name) - step_s(dispatcher=name, graphs="step") for name in ("deepep", "hybridep")]
    assert saved[0] > saved[1] > 0


def test_graphs_do_not_speed_up_what_the_gpu_takes_longer_for_than_the_host() -> None:
    raw = {"model": "llama-3-70b", "parallel": {"tensor": 8}, "train": {"micro_batch": 2}}
    plain, graphed = (
        Plan(RunConfig.model_validate({**raw, "train": {**raw["train"], "cuda_graphs": graphs}})).step_parts.total
        for graphs in ("none", "step")
    )
    assert 0.99 * plain < graphed <= plain


def test_norms_in_single_precision_move_more_bytes() -> None:
    config = RunConfig.model_validate({"train": {"stack": "torchtitan"}})
    plan = Plan(config)
    narrow = replace(plan.method, stack=plan.method.stack.model_copy(update={"narrow": ("norms",)}))
    constants = catalog.constants()
    wide_s, narrow_s = (
        Kernels(plan.model.architecture, plan.gpu, plan.layout, method, constants).elementwise_s()
        for method in (plan.method, narrow)
    )
    assert plan.method.norms_in_fp32 and not narrow.norms_in_fp32
    assert narrow_s < wide_s < constants["elementwise_fp32_norms"] * narrow_s


def test_racks_have_a_dispatcher_of_their_own() -> None:
    """DeepEP does not reach GPUs of other hosts over NVLink; what a config asks for is kept."""
    megatron = catalog.stack("megatron-core")
    assert dispatcher_on(megatron, B300) == dispatcher_on(megatron, H100) == "deepep"
    assert dispatcher_on(megatron, catalog.gpu("GB300")) == "hybridep"
    assert dispatcher_on(catalog.stack("torchtitan"), catalog.gpu("GB300")) == "alltoall"
    raw = {"cluster": {"gpu": "GB200", "nodes": 2, "gpus_per_node": 4}, "train": {"stack": "megatron-core"}}
    usual, asked = (
        Method.of(RunConfig.model_validate({**raw, "parallel": parallel}))
        for parallel in ({}, {"dispatcher": "deepep"})
    )
    assert usual.counts_on_gpu and not asked.counts_on_gpu


def test_tokens_that_travel_behind_computing_cost_less() -> None:
    for dispatcher in ("alltoall", "deepep"):
        assert step_s(dispatcher=dispatcher, expert_overlap=True) < step_s(dispatcher=dispatcher, expert_overlap=False)


def test_an_all_to_all_is_slower_over_ethernet_and_slowest_over_efa() -> None:
    assert step_s("infiniband") < step_s("roce") < step_s("efa")


def test_the_fabric_does_not_matter_inside_an_nvlink_domain() -> None:
    raw = {"model": "llama-3-8b", "cluster": {"nodes": 1}, "parallel": {"tensor": 1}}
    times = [
        Plan(RunConfig.model_validate({**raw, "cluster": {"nodes": 1, "fabric": fabric}})).step_parts.total
        for fabric in ("infiniband", "efa")
    ]
    assert times[0] == times[1]


def test_four_bits_are_faster_and_held_smaller_than_eight() -> None:
    plans = [
        Plan(RunConfig.model_validate({"model": "llama-3-8b", "cluster": {"gpu": "B200"}, "parallel": {"tensor": 1},
                                       "train": {"precision": precision, "recompute": "none"}}))
        for precision in ("bf16", "mxfp8", "nvfp4")
    ]  # fmt: skip
    times, kept = [one.step_parts.total for one in plans], [one.memory.activations for one in plans]
    assert times == sorted(times, reverse=True) and kept == sorted(kept, reverse=True)
    assert len(set(times)) == len(set(kept)) == 3


def test_reentrant_checkpoints_compute_all_of_a_layer_again() -> None:
    config = RunConfig.model_validate({"train": {"stack": "hf-trainer", "recompute": "full"}})
    plan = Plan(config)
    partly = replace(plan.method, stack=plan.method.stack.model_copy(update={"checkpoints_whole": False}))
    whole, part = (
        Throughput(plan.model.architecture, plan.gpu, plan.layout, Network.of(plan.gpu, 400), method).step().recompute
        for method in (plan.method, partly)
    )
    assert whole > 1.05 * part


def test_operations_in_a_kernel_each_move_more_than_merged_ones() -> None:
    """Transformers' models as they are written, against those of fms-fsdp, whose norms are one kernel."""
    plan = Plan(RunConfig())
    plain, eager = (
        Kernels(
            plan.model.architecture,
            plan.gpu,
            plan.layout,
            replace(plan.method, stack=catalog.stack(name)),
            catalog.constants(),
        )
        for name in ("hf-trainer", "fsdp")
    )
    assert plain.elementwise_s() > 1.2 * eager.elementwise_s()
