"""Which collectives a job times, and how often."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from accelerate_sim.config.schema import RunConfig
from accelerate_sim.sim.run import Run
from accelerate_sim.sim.speed.communication import Collective, Communication


def communication(raw: dict[str, Any]) -> Communication:
    return Run(RunConfig.model_validate(raw)).communication


def timed(raw: dict[str, Any], steps: int = 6000) -> list[tuple[int, Collective]]:
    source = communication(raw)
    return [(step, found) for step in range(steps) if (found := source.at(step))]


LLAMA: dict[str, Any] = {}
EXPERTS = {"model": "mixtral-8x7b", "parallel": {"tensor": 2, "expert": 8}}
LONG = {
    "parallel": {"tensor": 4, "context": 2, "pipeline": 2, "sharding": "zero1"},
    "train": {"sequence_length": 32768, "micro_batch": 1},
}
SMALL = {
    "model": "gpt2", "cluster": {"nodes": 1, "gpus_per_node": 1}, "parallel": {"tensor": 1},
    "train": {"sequence_length": 1024},
}  # fmt: skip


@pytest.mark.parametrize("raw", [LLAMA, EXPERTS])
def test_one_every_50_to_100_steps(raw: dict[str, Any]) -> None:
    steps = [step for step, _ in timed(raw)]
    gaps = [after - before for before, after in itertools.pairwise(steps)]
    assert 50 <= min(gaps) < 65 < 85 < max(gaps) <= 100
    assert steps[0] < 60


def test_each_axis_has_the_collectives_of_its_kind() -> None:
    """FSDP gathers weights and scatters gradients; hidden states are reduced, or gathered and scattered in turn where
    norms are shared, too; tokens go to their experts and back; keys are gathered, and stages send to each other."""
    weights = {("all_gather", "data"), ("reduce_scatter", "data")}
    assert kinds(LLAMA) == weights | {("all_gather", "tensor"), ("reduce_scatter", "tensor")}
    assert kinds({"parallel": {"sequence": False}}) == weights | {("all_reduce", "tensor")}
    assert ("all_to_all", "expert") in kinds(EXPERTS)
    assert {("all_gather", "context"), ("send_recv", "pipeline")} < kinds(LONG)


def kinds(raw: dict[str, Any]) -> set[tuple[str, str]]:
    return {(found.name, found.axis) for _, found in timed(raw)}


def test_stages_send_a_micro_batch_of_hidden_states() -> None:
    """From one rank to one other, on another machine; all bytes pass the wire once."""
    sent = [found for _, found in timed(LONG) if found.axis == "pipeline"]
    one = Run(RunConfig.model_validate(LONG))
    for found in sent:
        assert (found.num_ranks, found.num_nodes, found.choice.algorithm) == (2, 2, "P2P")
        assert found.size_bytes == 2 * 32768 // 2 * 8192 // 4
        assert found.bus_bytes_per_s == found.algorithm_bytes_per_s < one.network.nic_bytes_per_s


def test_sizes_are_those_of_what_is_sent() -> None:
    """A layer's weights in bf16, shared by eight; the hidden state of a micro-batch."""
    sizes = {found.axis: found.size_bytes for _, found in timed(LLAMA)}
    per_layer = 2 * 8192 * 128 * (64 + 8) + 3 * 8192 * 28672 + 2 * 8192
    assert sizes["data"] == pytest.approx(2 * per_layer / 8, rel=1e-3)
    assert sizes["tensor"] == 2 * 8192 * 8192


def test_times_vary_a_little_and_are_never_better_than_the_links() -> None:
    source, seconds = communication(LLAMA), {}
    for _, found in timed(LLAMA):
        seconds.setdefault((found.name, found.axis), []).append(found.seconds)
    assert len(source.candidates) == len(seconds)
    for candidate in source.candidates:
        best, taken = source.seconds(candidate), seconds[candidate.name, candidate.axis]
        assert best <= min(taken)
        assert max(taken) < 1.35 * best
        assert len(set(taken)) == len(taken)


def test_one_gpu_has_nobody_to_talk_to() -> None:
    assert timed(SMALL) == []


def test_test_before_the_first_step_is_a_gibibyte_over_everyone() -> None:
    test = communication(LLAMA).test()
    assert (test.name, test.num_ranks, test.num_nodes, test.size_bytes) == ("all_reduce", 64, 8, 2**30)
