"""Models that no family of the library has: gates, biases and positions by key."""

import pytest

from accelerate_sim.catalog import Architecture, MixtureOfExperts
from accelerate_sim.catalog.families import FAMILIES
from accelerate_sim.config.checks.conflicts import conflicts
from accelerate_sim.config.schema import RunConfig

LAYERS, HIDDEN, FFN, CONTEXT, VOCAB = 3, 64, 256, 128, 1000
SHAPE = {"layers": LAYERS, "hidden": HIDDEN, "heads": 4, "ffn": FFN, "vocab": VOCAB, "context": CONTEXT}


def shape(**keys: object) -> Architecture:
    return Architecture.model_validate({**SHAPE, **keys})


def test_saying_what_the_family_does_changes_nothing() -> None:
    said = shape(gated_mlp=True, learned_positions=False)
    assert (said.departs, said.parameters, said.model_class) == (False, shape().parameters, "LlamaForCausalLM")


@pytest.mark.parametrize("family", ["llama", "phi3", "gpt2", "bloom", "falcon", "nemotron"])
def test_a_gate_is_a_third_matrix(family: str) -> None:
    with_gate, without = (shape(family=family, gated_mlp=gated, bias=False) for gated in (True, False))
    assert with_gate.parameters - without.parameters == LAYERS * HIDDEN * FFN
    assert with_gate.flops_per_token(1) - without.flops_per_token(1) == 6 * LAYERS * HIDDEN * FFN


def test_experts_without_a_gate() -> None:
    moe = MixtureOfExperts(experts=8, active_experts=2, ffn=96)
    with_gate, without = (shape(family="mixtral", moe=moe, gated_mlp=gated) for gated in (True, False))
    assert with_gate.parameters - without.parameters == LAYERS * 8 * HIDDEN * 96


def test_biases_are_one_for_each_output() -> None:
    outputs = 4 * HIDDEN + 2 * FFN + HIDDEN  # q k v o, gate and up, down
    assert shape(bias=True).parameters - shape(bias=False).parameters == LAYERS * outputs


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_learned_positions_are_a_row_for_each(family: str) -> None:
    learned, none = (shape(family=family, learned_positions=learned) for learned in (True, False))
    assert learned.parameters - none.parameters == CONTEXT * HIDDEN
    assert learned.matmul_parameters == none.matmul_parameters


def test_latent_attention_without_experts() -> None:
    mla = {"kv_rank": 32, "q_rank": 16, "rope_head_dim": 8, "nope_head_dim": 16, "v_head_dim": 16}
    dense = shape(family="deepseek_v3", mla=mla)
    assert dense.moe_layers == 0
    assert dense.parameters == dense.active_parameters
    assert not any("experts" in tensor.name or "mlp.gate." in tensor.name for tensor in dense.tensors())


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_tensors_add_up_whatever_is_changed(family: str) -> None:
    roles = FAMILIES[family].roles
    keys: dict[str, object] = {"family": family, "bias": True, "learned_positions": True}
    if "router" in roles:
        keys["moe"] = {"experts": 4, "active_experts": 2, "ffn": 32, "shared_experts": int("shared_up" in roles)}
    if "kv_down" in roles:
        keys["mla"] = {"kv_rank": 32, "q_rank": 16, "rope_head_dim": 8, "nope_head_dim": 16, "v_head_dim": 16}
    if "mamba_in" in roles:
        keys |= {"hybrid_pattern": "M*E", "mamba": {"heads": 8, "head_dim": 16, "state": 32}}
    for gated in (True, False):
        model = shape(**keys, gated_mlp=gated)
        names = [tensor.name for tensor in model.tensors()]
        assert len(names) == len(set(names))
        assert sum(tensor.elements for tensor in model.tensors()) == model.parameters


def test_positions_limit_the_sequence() -> None:
    model = {**SHAPE, "learned_positions": True}
    cluster = {"nodes": 1, "gpus_per_node": 1}
    config = {"model": model, "cluster": cluster, "parallel": {"tensor": 1}, "train": {"sequence_length": 256}}
    [problem] = conflicts(RunConfig.model_validate(config))
    assert "is more than the 128 positions" in problem.reason
