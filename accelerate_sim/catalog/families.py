"""Model families: which modules a model has, and what Hugging Face calls them.

A family is one model class of the ``transformers`` library. It is written as a list of modules in
the order in which that class registers them, which is the order of its state dict and of the shards
of a saved model. Counts and names both come from these lists, so a parameter count cannot disagree
with the tensors that are saved.
"""

from typing import Literal, NamedTuple

from accelerate_sim.catalog.modules import Module


class Family(NamedTuple):
    """Facts that all models of one ``transformers`` class have in common."""

    model_class: str
    model_type: str
    norm: Literal["rms", "layer"]
    modules: tuple[Module, ...]
    tied_embeddings: bool = False
    """Gates, biases and positions of this family's models, unless a model says otherwise."""

    @property
    def roles(self) -> frozenset[str]:
        """The roles of the family's modules."""
        return frozenset(module.role for module in self.modules)


def _modules(*lines: str, prefix: str = "") -> tuple[Module, ...]:
    """Read lines of ``role name [bias] [transposed] [bare]``."""
    rows = [line.split() for line in lines]
    return tuple(Module(role, prefix + name, **dict.fromkeys(flags, True)) for role, name, *flags in rows)


def _decoder(*layer: str) -> tuple[Module, ...]:
    """Return the frame that Llama and its many descendants share, around the modules of a layer."""
    return (
        *_modules("embedding model.embed_tokens"),
        *_modules(*layer, prefix="model.layers.{layer}."),
        *_modules("norm model.norm", "head lm_head"),
    )


_QKV = ("q self_attn.q_proj", "k self_attn.k_proj", "v self_attn.v_proj")
_ATTENTION = (*_QKV, "o self_attn.o_proj")
_QWEN2_ATTENTION = (*(f"{line} bias" for line in _QKV), "o self_attn.o_proj")
_QWEN3_ATTENTION = (*_ATTENTION, "head_norm self_attn.q_norm", "head_norm self_attn.k_norm")
_OLMO_ATTENTION = (*_ATTENTION, "q_norm self_attn.q_norm", "k_norm self_attn.k_norm")
_LATENT_ATTENTION = (
    "q self_attn.q_proj",  # either this one or the next three: see Architecture._modules
    "q_down self_attn.q_a_proj",
    "q_down_norm self_attn.q_a_layernorm",
    "q_up self_attn.q_b_proj",
    "kv_down self_attn.kv_a_proj_with_mqa",
    "kv_down_norm self_attn.kv_a_layernorm",
    "kv_up self_attn.kv_b_proj",
    "o self_attn.o_proj",
)
_GATED_MLP = ("gate mlp.gate_proj", "up mlp.up_proj", "down mlp.down_proj")
_EXPERTS = (
    "expert_gate mlp.experts.{expert}.gate_proj",
    "expert_up mlp.experts.{expert}.up_proj",
    "expert_down mlp.experts.{expert}.down_proj",
)
_SHARED_EXPERTS = (
    "shared_gate mlp.shared_experts.gate_proj",
    "shared_up mlp.shared_experts.up_proj",
    "shared_down mlp.shared_experts.down_proj",
)
_NORMS = ("norm input_layernorm", "norm post_attention_layernorm")

_LLAMA = _decoder(*_ATTENTION, *_GATED_MLP, *_NORMS)

_DEEPSEEK_V2 = (*_GATED_MLP, *_EXPERTS, "router mlp.gate", *_SHARED_EXPERTS, *_NORMS)
_DEEPSEEK_V3 = (
    *(*_GATED_MLP, *_EXPERTS, "router mlp.gate"),
    "router_bias mlp.gate.e_score_correction_bias bare",
    *(*_SHARED_EXPERTS, *_NORMS),
)


def _falcon(*norms: str) -> tuple[Module, ...]:
    return (
        *_modules("embedding transformer.word_embeddings"),
        *_modules(
            "qkv self_attention.query_key_value",
            "o self_attention.dense",
            "up mlp.dense_h_to_4h",
            "down mlp.dense_4h_to_h",
            *norms,
            prefix="transformer.h.{layer}.",
        ),
        *_modules("norm transformer.ln_f bias", "head lm_head"),
    )


FAMILIES: dict[str, Family] = {
    "llama": Family("LlamaForCausalLM", "llama", "rms", _LLAMA),
    "mistral": Family("MistralForCausalLM", "mistral", "rms", _LLAMA),
    "qwen2": Family("Qwen2ForCausalLM", "qwen2", "rms", _decoder(*_QWEN2_ATTENTION, *_GATED_MLP, *_NORMS)),
    "qwen3": Family("Qwen3ForCausalLM", "qwen3", "rms", _decoder(*_QWEN3_ATTENTION, *_GATED_MLP, *_NORMS)),
    "gemma": Family("GemmaForCausalLM", "gemma", "rms", _LLAMA, tied_embeddings=True),
    "gemma2": Family(
        "Gemma2ForCausalLM",
        "gemma2",
        "rms",
        _decoder(
            *(*_ATTENTION, *_GATED_MLP, *_NORMS),
            "norm pre_feedforward_layernorm",
            "norm post_feedforward_layernorm",
        ),
        tied_embeddings=True,
    ),
    "phi3": Family(
        "Phi3ForCausalLM",
        "phi3",
        "rms",
        _decoder(
            "o self_attn.o_proj",
            "qkv self_attn.qkv_proj",
            "gate_up mlp.gate_up_proj",
            "down mlp.down_proj",
            *_NORMS,
        ),
    ),
    "olmo2": Family(
        "Olmo2ForCausalLM",
        "olmo2",
        "rms",
        _decoder(
            *(*_OLMO_ATTENTION, *_GATED_MLP),
            "norm post_attention_layernorm",
            "norm post_feedforward_layernorm",
        ),
    ),
    # Command R: attention and MLP side by side after a single LayerNorm that has no bias.
    "cohere": Family(
        "CohereForCausalLM",
        "cohere",
        "layer",
        _decoder(*_ATTENTION, *_GATED_MLP, "norm input_layernorm"),
        tied_embeddings=True,
    ),
    "nemotron": Family(
        "NemotronForCausalLM",
        "nemotron",
        "layer",
        (
            *_modules("embedding model.embed_tokens"),
            *_modules(
                *(*_ATTENTION, "up mlp.up_proj", "down mlp.down_proj"),
                *(f"{line} bias" for line in _NORMS),
                prefix="model.layers.{layer}.",
            ),
            *_modules("norm model.norm bias", "head lm_head"),
        ),
    ),
    "mixtral": Family(
        "MixtralForCausalLM",
        "mixtral",
        "rms",
        _decoder(
            *_ATTENTION,
            "router block_sparse_moe.gate",
            "expert_gate block_sparse_moe.experts.{expert}.w1",
            "expert_down block_sparse_moe.experts.{expert}.w2",
            "expert_up block_sparse_moe.experts.{expert}.w3",
            *_NORMS,
        ),
    ),
    "olmoe": Family(
        "OlmoeForCausalLM",
        "olmoe",
        "rms",
        _decoder(*_OLMO_ATTENTION, "router mlp.gate", *_EXPERTS, *_NORMS),
    ),
    "qwen3_moe": Family(
        "Qwen3MoeForCausalLM",
        "qwen3_moe",
        "rms",
        _decoder(*_QWEN3_ATTENTION, "router mlp.gate", *_EXPERTS, *_NORMS),
    ),
    "deepseek": Family("DeepseekForCausalLM", "deepseek", "rms", _decoder(*_ATTENTION, *_DEEPSEEK_V2)),
    "deepseek_v2": Family("DeepseekV2ForCausalLM", "deepseek_v2", "rms", _decoder(*_LATENT_ATTENTION, *_DEEPSEEK_V2)),
    "deepseek_v3": Family("DeepseekV3ForCausalLM", "deepseek_v3", "rms", _decoder(*_LATENT_ATTENTION, *_DEEPSEEK_V3)),
    "gpt2": Family(
        "GPT2LMHeadModel",
        "gpt2",
        "layer",
        (
            *_modules("embedding transformer.wte", "positions transformer.wpe"),
            *_modules(
                "norm ln_1 bias",
                "qkv attn.c_attn bias transposed",
                "o attn.c_proj bias transposed",
                "norm ln_2 bias",
                "up mlp.c_fc bias transposed",
                "down mlp.c_proj bias transposed",
                prefix="transformer.h.{layer}.",
            ),
            *_modules("norm transformer.ln_f bias", "head lm_head"),
        ),
        tied_embeddings=True,
    ),
    "gpt_neox": Family(
        "GPTNeoXForCausalLM",
        "gpt_neox",
        "layer",
        (
            *_modules("embedding gpt_neox.embed_in"),
            *_modules(
                "norm input_layernorm bias",
                "norm post_attention_layernorm bias",
                "qkv attention.query_key_value bias",
                "o attention.dense bias",
                "up mlp.dense_h_to_4h bias",
                "down mlp.dense_4h_to_h bias",
                prefix="gpt_neox.layers.{layer}.",
            ),
            *_modules("norm gpt_neox.final_layer_norm bias", "head embed_out"),
        ),
    ),
    "opt": Family(
        "OPTForCausalLM",
        "opt",
        "layer",
        (
            *_modules(
                "embedding model.decoder.embed_tokens",
                "positions_from_2 model.decoder.embed_positions",
                "norm model.decoder.final_layer_norm bias",
            ),
            *_modules(
                "k self_attn.k_proj bias",
                "v self_attn.v_proj bias",
                "q self_attn.q_proj bias",
                "o self_attn.out_proj bias",
                "norm self_attn_layer_norm bias",
                "up fc1 bias",
                "down fc2 bias",
                "norm final_layer_norm bias",
                prefix="model.decoder.layers.{layer}.",
            ),
            *_modules("head lm_head"),
        ),
        tied_embeddings=True,
    ),
    "bloom": Family(
        "BloomForCausalLM",
        "bloom",
        "layer",
        (
            *_modules(
                "embedding transformer.word_embeddings",
                "norm transformer.word_embeddings_layernorm bias",
            ),
            *_modules(
                "norm input_layernorm bias",
                "qkv self_attention.query_key_value bias",
                "o self_attention.dense bias",
                "norm post_attention_layernorm bias",
                "up mlp.dense_h_to_4h bias",
                "down mlp.dense_4h_to_h bias",
                prefix="transformer.h.{layer}.",
            ),
            *_modules("norm transformer.ln_f bias", "head lm_head"),
        ),
        tied_embeddings=True,
    ),
    # Falcon 7B normalises once for both branches; 40B and 180B, once for each of them.
    "falcon": Family(
        "FalconForCausalLM",
        "falcon",
        "layer",
        _falcon("norm input_layernorm bias"),
        tied_embeddings=True,
    ),
    "falcon_two_norms": Family(
        "FalconForCausalLM",
        "falcon",
        "layer",
        _falcon("norm ln_attn bias", "norm ln_mlp bias"),
        tied_embeddings=True,
    ),
    "mpt": Family(
        "MptForCausalLM",
        "mpt",
        "layer",
        (
            *_modules("embedding transformer.wte"),
            *_modules(
                "norm norm_1",
                "qkv attn.Wqkv",
                "o attn.out_proj",
                "norm norm_2",
                "up ffn.up_proj",
                "down ffn.down_proj",
                prefix="transformer.blocks.{layer}.",
            ),
            *_modules("norm transformer.norm_f", "head lm_head"),
        ),
        tied_embeddings=True,
    ),
}
