"""Hybrid models, of whose blocks (Mamba-2, attention, MLP, experts) each layer has one."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from accelerate_sim.artifacts.model_config import config_images
from accelerate_sim.catalog import Architecture, model

HIDDEN, STATE, GROUPS, HEADS, HEAD_DIM = 64, 32, 2, 8, 16
INNER = HEADS * HEAD_DIM
SHAPE: dict[str, Any] = {
    "family": "nemotron_h", "layers": 6, "hidden": HIDDEN, "heads": 4, "kv_heads": 2, "ffn": 96, "vocab": 1000,
    "context": 4096, "hybrid_pattern": "M-M*M-",
    "mamba": {"heads": HEADS, "head_dim": HEAD_DIM, "state": STATE, "groups": GROUPS},
}  # fmt: skip
EXPERTS = {"experts": 8, "active_experts": 2, "shared_experts": 1, "ffn": 48}


def hybrid(**keys: Any) -> Architecture:
    return Architecture.model_validate(SHAPE | keys)


def test_a_published_model_has_its_blocks_and_its_parameters() -> None:
    nano = model("nemotron-3-nano-30b-a3b").architecture
    assert (nano.mamba_layers, nano.moe_layers, nano.attention_layers, nano.dense_layers) == (23, 23, 6, 0)
    assert nano.parameters / 1e9 == pytest.approx(31.58, abs=0.005)
    assert nano.active_parameters / 1e9 == pytest.approx(3.58, abs=0.005)
    tensors = dict(nano.tensors())
    assert tensors["backbone.layers.0.mixer.in_proj.weight"] == (2 * 4096 + 2 * 8 * 128 + 64, 2688)
    assert tensors["backbone.layers.0.mixer.conv1d.weight"] == (4096 + 2 * 8 * 128, 1, 4)
    assert tensors["backbone.layers.5.mixer.k_proj.weight"] == (256, 2688)
    assert tensors["backbone.layers.51.mixer.experts.127.down_proj.weight"] == (2688, 1856)


def test_a_layer_is_one_block_with_a_norm() -> None:
    """Each letter of the pattern counts by itself; the formula is Dao and Gu's block."""
    convolved = INNER + 2 * GROUPS * STATE
    mamba = HIDDEN * (INNER + convolved + HEADS) + INNER * HIDDEN + 5 * convolved + 3 * HEADS + INNER
    attention = 2 * HIDDEN * HIDDEN + 2 * HIDDEN * HIDDEN // 2
    blocks = 3 * mamba + attention + 2 * 2 * HIDDEN * 96
    assert hybrid().parameters == blocks + 6 * HIDDEN + HIDDEN + 2 * 1000 * HIDDEN
    assert sum(tensor.elements for tensor in hybrid().tensors()) == hybrid().parameters
    names = [tensor.name for tensor in hybrid().tensors()]
    assert sum(name.endswith("layers.0.norm.weight") for name in names) == 1
    assert not any("layers.1.mixer.in_proj" in name or "layers.0.mixer.up_proj" in name for name in names)


def test_the_recurrence_costs_the_same_at_any_length() -> None:
    alone = hybrid(hybrid_pattern="M-M-M-")
    assert alone.flops_per_token(1024) == alone.flops_per_token(65536)
    assert alone.flops_per_token(1024) - 6 * alone.matmul_parameters == 3 * 7 * 3 * INNER * STATE
    twice = hybrid(hybrid_pattern="M**-M-")
    one, two = (some.flops_per_token(4096) - some.flops_per_token(2048) for some in (hybrid(), twice))
    assert two == 2 * one


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hybrid_pattern": "M-M*"}, "has 4 letters for layers = 6"),
        ({"hybrid_pattern": "M-MAM-"}, "hybrid_pattern has the letters A; use M, *, -, E"),
        ({"hybrid_pattern": "--**--"}, "mamba and the M of hybrid_pattern go together"),
        ({"mamba": None}, "mamba and the M of hybrid_pattern go together"),
        ({"hybrid_pattern": "MEM*ME"}, "moe and the E of hybrid_pattern go together"),
        ({"hybrid_pattern": "MEM*M-", "moe": EXPERTS | {"dense_layers": 1}}, "dense_layers says nothing"),
        ({"hybrid_pattern": None}, "family 'nemotron_h' needs hybrid_pattern"),
        ({"family": "llama"}, "family 'llama' has no hybrid_pattern; hybrid families: nemotron_h"),
    ],
)
def test_patterns_that_do_not_fit_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message.replace("*", r"\*")):
        hybrid(**change)


def test_its_config_names_the_blocks() -> None:
    text = config_images(hybrid(hybrid_pattern="MEM*ME", moe=EXPERTS), 1000)[0].head.decode()
    for expected in ('"hybrid_override_pattern": "MEM*ME"', '"ssm_state_size": 32', '"n_routed_experts": 8'):
        assert expected in text
    assert "rope_theta" not in text
