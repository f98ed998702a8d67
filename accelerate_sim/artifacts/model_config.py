"""config.json and generation_config.json with the keys that the model's class in ``transformers`` reads.

Values come from the architecture. Constants that no count depends on (rotary base, norm epsilon) are those of
the family's first release.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from accelerate_sim.artifacts.config_keys import (
    Keys,
    bloom_keys,
    falcon_keys,
    gpt2_keys,
    gpt_neox_keys,
    mpt_keys,
    opt_keys,
)
from accelerate_sim.artifacts.file_image import FileImage, json_image
from accelerate_sim.artifacts.tokenizer import end_of_text_id
from accelerate_sim.catalog import Architecture

TRANSFORMERS_VERSION = "4.57.0"
"""The release whose key names are written; later ones read them."""


def config_images(model: Architecture, tokenizer_vocab: int) -> list[FileImage]:
    """config.json and generation_config.json."""
    token = end_of_text_id(min(model.vocab, tokenizer_vocab))
    config = {
        "architectures": [model.model_class],
        "model_type": model.model_type,
        **_KEYS[model.family](model),
        **(_departures(model) if model.departs else {}),
        "vocab_size": model.vocab,
        "tie_word_embeddings": model.tied_embeddings,
        "bos_token_id": token,
        "eos_token_id": token,
        "pad_token_id": None,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "transformers_version": TRANSFORMERS_VERSION,
        "simulated": True,
    }
    generation = {
        "_from_model_config": True,
        "bos_token_id": token,
        "eos_token_id": token,
        "transformers_version": TRANSFORMERS_VERSION,
        "simulated": True,
    }
    return [json_image("config.json", config), json_image("generation_config.json", generation)]


def _departures(model: Architecture) -> Keys:
    """Keys that no class of ``transformers`` reads: the points in which the model differs from its family."""
    return {
        "base_model_type": model.family, "gated_mlp": model.gated_mlp, "bias": model.bias,
        "learned_positions": model.learned_positions,
    }  # fmt: skip


def _decoder(model: Architecture) -> Keys:
    """Keys that most models derived from Llama have."""
    return {
        "hidden_size": model.hidden,
        "intermediate_size": model.ffn,
        "num_hidden_layers": model.layers,
        "num_attention_heads": model.heads,
        "num_key_value_heads": model.kv_heads,
        "head_dim": model.head_dim,
        "max_position_embeddings": model.context,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-05,
        "rope_theta": 500000.0 if model.context > 4096 else 10000.0,
        "initializer_range": 0.02,
        "attention_bias": False,
        "attention_dropout": 0.0,
    }


def _with(**others: Any) -> Callable[[Architecture], Keys]:
    """The keys of a decoder, with ``more`` added or replaced; None leaves a key out."""
    return lambda model: {key: value for key, value in {**_decoder(model), **others}.items() if value is not None}


def _llama(model: Architecture) -> Keys:
    return {**_decoder(model), "mlp_bias": False, "pretraining_tp": 1}


def _gemma(model: Architecture) -> Keys:
    return {**_decoder(model), "hidden_activation": "gelu_pytorch_tanh", "rms_norm_eps": 1e-06}


def _gemma2(model: Architecture) -> Keys:
    return {
        **_gemma(model),
        "query_pre_attn_scalar": model.head_dim,
        "sliding_window": 4096,
        "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0,
    }


def _experts(model: Architecture) -> Mapping[str, int]:
    assert model.moe
    return {"experts": model.moe.experts, "active": model.moe.active_experts, "ffn": model.moe.ffn}


def _mixtral(model: Architecture) -> Keys:
    moe = _experts(model)
    return {
        **_decoder(model),
        "intermediate_size": moe["ffn"],
        "num_local_experts": moe["experts"],
        "num_experts_per_tok": moe["active"],
        "router_aux_loss_coef": 0.02,
        "sliding_window": None,
    }


def _olmoe(model: Architecture) -> Keys:
    moe = _experts(model)
    return {
        **_decoder(model),
        "intermediate_size": moe["ffn"],
        "num_experts": moe["experts"],
        "num_experts_per_tok": moe["active"],
        "norm_topk_prob": False,
    }


def _qwen3_moe(model: Architecture) -> Keys:
    moe = _experts(model)
    return {
        **_decoder(model),
        "moe_intermediate_size": moe["ffn"],
        "num_experts": moe["experts"],
        "num_experts_per_tok": moe["active"],
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "norm_topk_prob": True,
    }


def _deepseek(model: Architecture) -> Keys:
    if not model.moe:
        return {**_decoder(model), "first_k_dense_replace": model.layers, "moe_layer_freq": 1}
    moe = _experts(model)
    return {
        **_decoder(model),
        "moe_intermediate_size": moe["ffn"],
        "n_routed_experts": moe["experts"],
        "n_shared_experts": model.moe.shared_experts or None,
        "num_experts_per_tok": moe["active"],
        "first_k_dense_replace": model.dense_layers,
        "moe_layer_freq": 1,
        "norm_topk_prob": False,
        "scoring_func": "softmax",
    }


def _deepseek_v2(model: Architecture) -> Keys:
    assert model.mla
    keys = {
        **_deepseek(model),
        "q_lora_rank": model.mla.q_rank,
        "kv_lora_rank": model.mla.kv_rank,
        "qk_rope_head_dim": model.mla.rope_head_dim,
        "qk_nope_head_dim": model.mla.nope_head_dim,
        "v_head_dim": model.mla.v_head_dim,
        "n_group": 1,
        "topk_group": 1,
        "topk_method": "greedy",
        "routed_scaling_factor": 1.0,
    }
    del keys["head_dim"]  # of the class itself: the width that rotates
    return keys


def _deepseek_v3(model: Architecture) -> Keys:
    experts = model.moe.experts if model.moe else 1
    groups = 8 if experts % 8 == 0 and experts >= 64 else 1
    return {
        **_deepseek_v2(model),
        "n_group": groups,
        "topk_group": max(1, groups // 2),
        "topk_method": "noaux_tc",
        "scoring_func": "sigmoid",
        "norm_topk_prob": True,
        "routed_scaling_factor": 2.5,
    }


def _nemotron_h(model: Architecture) -> Keys:
    keys = {**_decoder(model), "hybrid_override_pattern": model.hybrid_pattern, "mlp_hidden_act": "relu2"}
    for absent in ("hidden_act", "rope_theta", "rms_norm_eps"):  # attention knows of places by the Mamba blocks alone
        del keys[absent]
    keys["layer_norm_epsilon"] = 1e-05
    if mamba := model.mamba:
        keys |= {
            "mamba_num_heads": mamba.heads, "mamba_head_dim": mamba.head_dim, "ssm_state_size": mamba.state,
            "n_groups": mamba.groups, "conv_kernel": mamba.window, "chunk_size": 128,
        }  # fmt: skip
    if model.moe:
        moe = _experts(model)
        keys |= {
            "moe_intermediate_size": moe["ffn"], "n_routed_experts": moe["experts"],
            "num_experts_per_tok": moe["active"], "n_shared_experts": 1 if model.moe.shared_experts else 0,
            "moe_shared_expert_intermediate_size": model.moe.shared_experts * moe["ffn"], "norm_topk_prob": True,
            "routed_scaling_factor": 2.5, "n_group": 1, "topk_group": 1,
        }  # fmt: skip
    return keys


_KEYS: dict[str, Callable[[Architecture], Keys]] = {
    "llama": _llama,
    "mistral": _decoder,
    "qwen2": _with(use_sliding_window=False, attention_bias=None),
    "qwen3": _with(use_sliding_window=False),
    "gemma": _gemma,
    "gemma2": _gemma2,
    "phi3": lambda model: {**_decoder(model), "original_max_position_embeddings": model.context, "resid_pdrop": 0.0},
    "olmo2": _with(rms_norm_eps=1e-06),
    "cohere": _with(rms_norm_eps=None, layer_norm_eps=1e-05, logit_scale=0.0625, use_qk_norm=False),
    "nemotron": _with(rms_norm_eps=None, norm_eps=1e-05, hidden_act="relu2", partial_rotary_factor=0.5, mlp_bias=False),
    "nemotron_h": _nemotron_h,
    "mixtral": _mixtral,
    "olmoe": _olmoe,
    "qwen3_moe": _qwen3_moe,
    "deepseek": _deepseek,
    "deepseek_v2": _deepseek_v2,
    "deepseek_v3": _deepseek_v3,
    "gpt2": gpt2_keys,
    "gpt_neox": gpt_neox_keys,
    "opt": opt_keys,
    "bloom": bloom_keys,
    "falcon": falcon_keys(two_norms=False),
    "falcon_two_norms": falcon_keys(two_norms=True),
    "mpt": mpt_keys,
}
