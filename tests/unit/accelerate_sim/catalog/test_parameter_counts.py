"""Counts that follow from an architecture, against formulas and figures of others."""

import math

import pytest

from accelerate_sim.catalog import ModelSpec, model, model_names

# Totals of the safetensors files on the Hugging Face hub, or of a count in transformers.
EXACT = {
    "gpt2": 124_439_808,
    "llama-2-7b": 6_738_415_616,
    "llama-2-13b": 13_015_864_320,
    "llama-2-70b": 68_976_648_192,
    "llama-3-8b": 8_030_261_248,
    "llama-3-70b": 70_553_706_496,
    "llama-3.1-405b": 405_853_388_800,
    "llama-3.2-1b": 1_235_814_400,
    "mistral-7b": 7_241_732_096,
    "mixtral-8x7b": 46_702_792_704,
    "qwen2.5-72b": 72_706_203_648,
    "qwen3-235b-a22b": 235_093_634_560,
    "gemma-2-9b": 9_241_705_984,
    "phi-4": 14_659_507_200,
    "gpt-neox-20b": 20_554_567_680,
    "bloom-176b": 176_247_271_424,
    "falcon-7b": 6_921_720_704,
    "mpt-7b": 6_649_286_656,
    "olmo-2-13b": 13_716_198_400,
    "deepseek-v2-lite": 15_706_484_224,
    "deepseek-v3": 671_026_419_200,
    "command-r": 34_980_831_232,
}


def rounds_to(count: int, published: int) -> bool:
    """Tell whether ``count`` is ``published`` at the digits that ``published`` has."""
    digits = len(str(published).rstrip("0"))
    return float(f"{count:.{digits - 1}e}") == published


def test_the_count_is_the_published_one() -> None:
    for name in model_names():
        spec = model(name)
        count = spec.architecture.parameters
        close = math.isclose(count, spec.published_parameters, rel_tol=1e-3)
        assert close or rounds_to(count, spec.published_parameters), name


def test_the_count_is_exact_where_the_weights_are_public() -> None:
    assert {name: model(name).architecture.parameters for name in EXACT} == EXACT


@pytest.mark.parametrize("name", ["llama-3-8b", "llama-3.1-405b", "mistral-7b", "yi-34b"])
def test_a_llama_is_its_projections_norms_and_two_embeddings(name: str) -> None:
    a = model(name).architecture
    attention = a.hidden * a.head_dim * (2 * a.heads + 2 * a.kv_heads)
    assert a.attention_parameters_per_layer == attention
    assert a.mlp_parameters_per_layer == 3 * a.hidden * a.ffn
    layer = attention + 3 * a.hidden * a.ffn + 2 * a.hidden
    assert a.parameters == a.layers * layer + a.hidden + 2 * a.vocab * a.hidden


def test_a_gpt2_has_biases_positions_and_one_embedding() -> None:
    a = model("gpt2-xl").architecture
    layer = 12 * a.hidden**2 + 13 * a.hidden
    assert a.parameters == a.layers * layer + 2 * a.hidden + (a.vocab + a.context) * a.hidden


@pytest.mark.parametrize(
    ("name", "active"),
    [
        ("mixtral-8x7b", 12.9e9),  # Jiang et al. 2024
        ("mixtral-8x22b", 39.1e9),  # model card
        ("qwen3-30b-a3b", 3.35e9),
        ("deepseek-v3", 37_552_282_624),
        ("kimi-k2", 32.9e9),
    ],
)
def test_only_the_visited_experts_are_active(name: str, active: float) -> None:
    assert model(name).architecture.active_parameters == pytest.approx(active, rel=3e-3)


@pytest.mark.parametrize("name", ["llama-3-8b", "llama-3.2-1b", "mixtral-8x7b", "deepseek-v3"])
def test_matmul_parameters_are_the_active_ones_without_look_ups_norms_and_biases(name: str) -> None:
    a = model(name).architecture
    embedding = 0 if a.tied_embeddings else a.embedding_parameters
    small = a.active_parameters - embedding - a.matmul_parameters
    assert 0 < small < 1e-3 * a.active_parameters


def test_an_expert_layer_is_experts_router_and_shared_experts() -> None:
    a = model("deepseek-v3").architecture
    assert a.moe is not None
    router = a.moe.experts * (a.hidden + 1)  # one bias per expert balances the load
    experts = (a.moe.experts + a.moe.shared_experts) * a.expert_parameters
    assert a.mlp_parameters_per_layer == experts + router
    assert (a.dense_layers, a.moe_layers) == (3, 58)


def attention_flops(spec: ModelSpec, sequence_length: int, *, causal: bool) -> int:
    a = spec.architecture
    return a.flops_per_token(sequence_length, causal=causal) - 6 * a.matmul_parameters


def test_training_flops_are_6n_and_the_attention_square() -> None:
    llama = model("llama-3-8b")
    assert attention_flops(llama, 8192, causal=False) == 12 * 32 * 4096 * 8192
    assert attention_flops(llama, 8192, causal=True) == 6 * 32 * 4096 * 8192


def test_latent_attention_multiplies_wide_queries_and_narrow_values() -> None:
    square = attention_flops(model("deepseek-v3"), 4096, causal=False)
    assert square == 6 * 61 * 128 * (192 + 128) * 4096
