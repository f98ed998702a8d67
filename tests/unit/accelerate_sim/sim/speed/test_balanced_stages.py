"""Layers of pipeline stages that are balanced by their work."""

from __future__ import annotations

from dataclasses import replace

import pytest

from accelerate_sim import catalog
from accelerate_sim.catalog import Architecture
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.sim.plan import Plan
from accelerate_sim.sim.speed.balanced_stages import balanced_layers
from accelerate_sim.sim.speed.network import Network
from accelerate_sim.sim.speed.throughput import Throughput

LLAMA = catalog.model("llama-3-8b").architecture


@pytest.mark.parametrize("stages", [2, 3, 4, 8, 16])
def test_all_layers_are_in_one_stage_each(stages: int) -> None:
    """A stage that the head fills alone has none."""
    layers = balanced_layers(LLAMA, stages)
    assert balanced_layers(LLAMA, 1) == [LLAMA.layers]
    assert len(layers) == stages and sum(layers) == LLAMA.layers and min(layers[:-1]) > 0 <= layers[-1]


def test_the_last_stage_has_fewer_layers_as_it_has_the_head() -> None:
    """A head of 131,072 x 2,048 weighs as much as four layers of that width with MLPs of 8,192 channels."""
    changes = {"layers": 16, "hidden": 2048, "kv_heads": 32, "head_dim": 64, "ffn": 8192, "vocab": 131_072}
    narrow = Architecture.model_validate(LLAMA.model_dump() | changes | {"tied_embeddings": True})
    assert balanced_layers(narrow, 2) == [10, 6]


def test_experts_that_a_token_does_not_visit_are_no_work() -> None:
    """Mixtral's head weighs as much as a third of the two experts and the attention that a token visits."""
    mixtral = catalog.model("mixtral-8x7b").architecture
    every = Architecture.model_validate(LLAMA.model_dump() | {"ffn": 2 * LLAMA.ffn, "vocab": mixtral.vocab})
    assert balanced_layers(mixtral, 8) == balanced_layers(every, 8)


def test_a_heavy_head_delays_a_balanced_pipeline_less() -> None:
    one = Plan(RunConfig.model_validate({
        "model": "llama-3-8b", "train": {"stack": "megatron-flash2"},
        "parallel": {"pipeline": 8, "tensor": 1, "sharding": "zero1"},
    }))  # fmt: skip
    stack = one.method.stack.model_copy(update={"balances_stages": True})
    balanced = replace(one.method, stack=stack)
    steps = [
        Throughput(one.model.architecture, one.gpu, one.layout, Network.of(one.gpu, 400), method).step()
        for method in (balanced, one.method)
    ]
    assert steps[0].total < 0.95 * steps[1].total
    assert all(sum(step.parts().values()) == pytest.approx(step.total) for step in steps)
