"""Which collectives a job times, and how often."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from accelerate_sim.config.schema import RunConfig
from accelerate_sim.sim.communication import Collective, Communication
from accelerate_sim.sim.run import Run


def communication(raw: dict[str, Any]) -> Communication:
    return Run(RunConfig.model_validate(raw)).communication


def timed(raw: dict[str, Any], steps: int = 6000) -> list[tuple[int, Collective]]:
    source = communication(raw)
    return [(step, found) for step in range(steps) if (found := source.at(step))]


LLAMA: dict[str, Any] = {}
EXPERTS = {"model": "mixtral-8x7b", "parallel": {"tensor": 2, "expert": 8}}
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
    """FSDP gathers weights and scatters gradients; tensors are reduced; tokens go to their experts and back."""
    kinds = {(found.name, found.axis) for _, found in timed(LLAMA)}
    assert kinds == {("all_gather", "data"), ("reduce_scatter", "data"), ("all_reduce", "tensor")}
    assert ("all_to_all", "expert") in {(found.name, found.axis) for _, found in timed(EXPERTS)}


def test_sizes_are_those_of_what_is_sent() -> None:
    """A layer's weights in bf16, shared by eight; the hidden state of a micro-batch."""
    sizes = {found.axis: found.size_bytes for _, found in timed(LLAMA)}
    per_layer = 2 * 8192 * 128 * (64 + 8) + 3 * 8192 * 28672 + 2 * 8192
    assert sizes["data"] == pytest.approx(2 * per_layer / 8, rel=1e-3)
    assert sizes["tensor"] == 2 * 8192 * 8192


def test_times_vary_a_little_and_are_never_better_than_the_links() -> None:
    source, seconds = communication(LLAMA), {}
    for _, found in timed(LLAMA):
        seconds.setdefault(found.name, []).append(found.seconds)
    for name, _, group, size in source.candidates:
        best = source.network.seconds(name, size, group)
        assert best <= min(seconds[name])
        assert max(seconds[name]) < 1.35 * best
        assert len(set(seconds[name])) == len(seconds[name])


def test_one_gpu_has_nobody_to_talk_to() -> None:
    assert timed(SMALL) == []


def test_test_before_the_first_step_is_a_gibibyte_over_everyone() -> None:
    test = communication(LLAMA).test()
    assert (test.name, test.num_ranks, test.num_nodes, test.size_bytes) == ("all_reduce", 64, 8, 2**30)
