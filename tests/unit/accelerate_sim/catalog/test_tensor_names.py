"""Tensors of a model, against what real checkpoints hold."""

import pytest

from accelerate_sim.catalog import model, model_names


def test_the_tensors_hold_every_parameter_once() -> None:
    for name in model_names():
        architecture = model(name).architecture
        tensors = list(architecture.tensors())
        assert sum(tensor.elements for tensor in tensors) == architecture.parameters, name
        assert len({tensor.name for tensor in tensors}) == len(tensors), name


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("gpt2", 148),
        ("llama-2-7b", 291),
        ("llama-3-70b", 723),
        ("qwen3-235b-a22b", 36_945),
        ("deepseek-v3", 45_395),
    ],
)
def test_as_many_tensors_as_the_real_checkpoint(name: str, count: int) -> None:
    assert sum(1 for _ in model(name).architecture.tensors()) == count


@pytest.mark.parametrize(
    ("name", "tensor", "shape"),
    [
        ("llama-3-8b", "model.layers.31.self_attn.k_proj.weight", (1024, 4096)),
        ("qwen2.5-7b", "model.layers.0.self_attn.q_proj.bias", (3584,)),
        ("qwen3-8b", "model.layers.0.self_attn.q_norm.weight", (128,)),
        ("gemma-2-9b", "model.layers.0.pre_feedforward_layernorm.weight", (3584,)),
        ("phi-4", "model.layers.0.mlp.gate_up_proj.weight", (35840, 5120)),
        ("olmo-2-7b", "model.layers.0.self_attn.q_norm.weight", (4096,)),
        ("mixtral-8x7b", "model.layers.0.block_sparse_moe.experts.7.w2.weight", (4096, 14336)),
        ("deepseek-v3", "model.layers.2.mlp.gate_proj.weight", (18432, 7168)),
        ("deepseek-v3", "model.layers.3.mlp.experts.255.gate_proj.weight", (2048, 7168)),
        ("deepseek-v3", "model.layers.3.mlp.gate.e_score_correction_bias", (256,)),
        ("deepseek-v3", "model.layers.0.self_attn.kv_a_proj_with_mqa.weight", (576, 7168)),
        ("gpt2", "transformer.h.0.attn.c_attn.weight", (768, 2304)),
        ("gpt-neox-20b", "embed_out.weight", (50432, 6144)),
        ("opt-66b", "model.decoder.embed_positions.weight", (2050, 9216)),
        ("bloom-176b", "transformer.word_embeddings_layernorm.bias", (14336,)),
        ("falcon-40b", "transformer.h.0.self_attention.query_key_value.weight", (9216, 8192)),
        ("mpt-7b", "transformer.blocks.0.attn.Wqkv.weight", (12288, 4096)),
    ],
)
def test_names_and_shapes_are_hugging_faces(name: str, tensor: str, shape: tuple[int, ...]) -> None:
    assert dict(model(name).architecture.tensors())[tensor] == shape


def test_tensors_come_in_the_order_of_the_state_dict() -> None:
    names = [tensor.name for tensor in model("llama-3-8b").architecture.tensors()]
    assert names[:3] == [
        "model.embed_tokens.weight",
        "model.layers.0.self_attn.q_proj.weight",
        "model.layers.0.self_attn.k_proj.weight",
    ]
    assert names[-3:] == [
        "model.layers.31.post_attention_layernorm.weight",
        "model.norm.weight",
        "lm_head.weight",
    ]


def test_a_tied_head_is_not_stored() -> None:
    names = [tensor.name for tensor in model("llama-3.2-1b").architecture.tensors()]
    assert names[0] == "model.embed_tokens.weight"
    assert names[-1] == "model.norm.weight"
