"""Keys of config.json of the families that do not derive from Llama."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from accelerate_sim.catalog import Architecture

Keys = dict[str, Any]


def gpt2_keys(model: Architecture) -> Keys:
    """GPT-2's keys."""
    return {
        "n_embd": model.hidden,
        "n_layer": model.layers,
        "n_head": model.heads,
        "n_inner": model.ffn,
        "n_positions": model.context,
        "n_ctx": model.context,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-05,
        "initializer_range": 0.02,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "resid_pdrop": 0.0,
    }


def gpt_neox_keys(model: Architecture) -> Keys:
    """GPT-NeoX's keys, which Pythia has."""
    return {
        "hidden_size": model.hidden,
        "intermediate_size": model.ffn,
        "num_hidden_layers": model.layers,
        "num_attention_heads": model.heads,
        "max_position_embeddings": model.context,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-05,
        "rotary_pct": 0.25,
        "rotary_emb_base": 10000,
        "attention_bias": True,
        "use_parallel_residual": True,
        "initializer_range": 0.02,
    }


def opt_keys(model: Architecture) -> Keys:
    """OPT's keys."""
    return {
        "hidden_size": model.hidden,
        "word_embed_proj_dim": model.hidden,
        "ffn_dim": model.ffn,
        "num_hidden_layers": model.layers,
        "num_attention_heads": model.heads,
        "max_position_embeddings": model.context,
        "activation_function": "relu",
        "do_layer_norm_before": True,
        "enable_bias": True,
        "dropout": 0.1,
    }


def bloom_keys(model: Architecture) -> Keys:
    """BLOOM's keys."""
    return {
        "hidden_size": model.hidden,
        "n_layer": model.layers,
        "n_head": model.heads,
        "seq_length": model.context,
        "layer_norm_epsilon": 1e-05,
        "initializer_range": 0.02,
        "apply_residual_connection_post_layernorm": False,
    }


def falcon_keys(*, two_norms: bool) -> Callable[[Architecture], Keys]:
    """Falcon's keys; ``two_norms`` is the decoder of the 40B and 180B models."""
    return lambda model: {
        "hidden_size": model.hidden,
        "ffn_hidden_size": model.ffn,
        "num_hidden_layers": model.layers,
        "num_attention_heads": model.heads,
        "num_kv_heads": model.kv_heads,
        "max_position_embeddings": model.context,
        "new_decoder_architecture": two_norms,
        "multi_query": not two_norms and model.kv_heads == 1,
        "parallel_attn": True,
        "bias": False,
        "alibi": False,
        "layer_norm_epsilon": 1e-05,
        "rope_theta": 10000.0,
        "initializer_range": 0.02,
    }


def mpt_keys(model: Architecture) -> Keys:
    """MPT's keys."""
    return {
        "d_model": model.hidden,
        "n_layers": model.layers,
        "n_heads": model.heads,
        "expansion_ratio": model.ffn // model.hidden,
        "max_seq_len": model.context,
        "no_bias": True,
        "layer_norm_epsilon": 1e-05,
        "attn_config": {"alibi": True, "attn_type": "multihead_attention", "clip_qkv": None},
    }
