"""Model families: which modules a model has, and what Hugging Face calls them.

A family is one model class of the ``transformers`` library. It is written as a list of modules in
the order in which that class registers them, which is the order of its state dict and of the shards
of a saved model. Counts and names both come from these lists, so a parameter count cannot disagree
with the tensors that are saved.
"""

from typing import Literal, NamedTuple

from accelerate_sim.catalog.module_lists import (
    ATTENTION,
    DEEPSEEK_V2,
    DEEPSEEK_V3,
    EXPERTS,
    GATED_MLP,
    LATENT_ATTENTION,
    LLAMA,
    NEMOTRON_H,
    NORMS,
    OLMO_ATTENTION,
    QWEN2_ATTENTION,
    QWEN3_ATTENTION,
    decoder,
    falcon,
    module_list,
)
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


FAMILIES: dict[str, Family] = {
    "llama": Family("LlamaForCausalLM", "llama", "rms", LLAMA),
    "mistral": Family("MistralForCausalLM", "mistral", "rms", LLAMA),
    "qwen2": Family("Qwen2ForCausalLM", "qwen2", "rms", decoder(*QWEN2_ATTENTION, *GATED_MLP, *NORMS)),
    "qwen3": Family("Qwen3ForCausalLM", "qwen3", "rms", decoder(*QWEN3_ATTENTION, *GATED_MLP, *NORMS)),
    "gemma": Family("GemmaForCausalLM", "gemma", "rms", LLAMA, tied_embeddings=True),
    "gemma2": Family(
        "Gemma2ForCausalLM",
        "gemma2",
        "rms",
        decoder(
            *(*ATTENTION, *GATED_MLP, *NORMS),
            "norm pre_feedforward_layernorm",
            "norm post_feedforward_layernorm",
        ),
        tied_embeddings=True,
    ),
    "phi3": Family(
        "Phi3ForCausalLM",
        "phi3",
        "rms",
        decoder(
            "o self_attn.o_proj",
            "qkv self_attn.qkv_proj",
            "gate_up mlp.gate_up_proj",
            "down mlp.down_proj",
            *NORMS,
        ),
    ),
    "olmo2": Family(
        "Olmo2ForCausalLM",
        "olmo2",
        "rms",
        decoder(
            *(*OLMO_ATTENTION, *GATED_MLP),
            "norm post_attention_layernorm",
            "norm post_feedforward_layernorm",
        ),
    ),
    # Command R: attention and MLP side by side after a single LayerNorm that has no bias.
    "cohere": Family(
        "CohereForCausalLM",
        "cohere",
        "layer",
        decoder(*ATTENTION, *GATED_MLP, "norm input_layernorm"),
        tied_embeddings=True,
    ),
    "nemotron": Family(
        "NemotronForCausalLM",
        "nemotron",
        "layer",
        (
            *module_list("embedding model.embed_tokens"),
            *module_list(
                *(*ATTENTION, "up mlp.up_proj", "down mlp.down_proj"),
                *(f"{line} bias" for line in NORMS),
                prefix="model.layers.{layer}.",
            ),
            *module_list("norm model.norm bias", "head lm_head"),
        ),
    ),
    "mixtral": Family(
        "MixtralForCausalLM",
        "mixtral",
        "rms",
        decoder(
            *ATTENTION,
            "router block_sparse_moe.gate",
            "expert_gate block_sparse_moe.experts.{expert}.w1",
            "expert_down block_sparse_moe.experts.{expert}.w2",
            "expert_up block_sparse_moe.experts.{expert}.w3",
            *NORMS,
        ),
    ),
    "olmoe": Family(
        "OlmoeForCausalLM",
        "olmoe",
        "rms",
        decoder(*OLMO_ATTENTION, "router mlp.gate", *EXPERTS, *NORMS),
    ),
    "qwen3_moe": Family(
        "Qwen3MoeForCausalLM",
        "qwen3_moe",
        "rms",
        decoder(*QWEN3_ATTENTION, "router mlp.gate", *EXPERTS, *NORMS),
    ),
    "deepseek": Family("DeepseekForCausalLM", "deepseek", "rms", decoder(*ATTENTION, *DEEPSEEK_V2)),
    "deepseek_v2": Family("DeepseekV2ForCausalLM", "deepseek_v2", "rms", decoder(*LATENT_ATTENTION, *DEEPSEEK_V2)),
    "deepseek_v3": Family("DeepseekV3ForCausalLM", "deepseek_v3", "rms", decoder(*LATENT_ATTENTION, *DEEPSEEK_V3)),
    "gpt2": Family(
        "GPT2LMHeadModel",
        "gpt2",
        "layer",
        (
            *module_list("embedding transformer.wte", "positions transformer.wpe"),
            *module_list(
                "norm ln_1 bias",
                "qkv attn.c_attn bias transposed",
                "o attn.c_proj bias transposed",
                "norm ln_2 bias",
                "up mlp.c_fc bias transposed",
                "down mlp.c_proj bias transposed",
                prefix="transformer.h.{layer}.",
            ),
            *module_list("norm transformer.ln_f bias", "head lm_head"),
        ),
        tied_embeddings=True,
    ),
    "gpt_neox": Family(
        "GPTNeoXForCausalLM",
        "gpt_neox",
        "layer",
        (
            *module_list("embedding gpt_neox.embed_in"),
            *module_list(
                "norm input_layernorm bias",
                "norm post_attention_layernorm bias",
                "qkv attention.query_key_value bias",
                "o attention.dense bias",
                "up mlp.dense_h_to_4h bias",
                "down mlp.dense_4h_to_h bias",
                prefix="gpt_neox.layers.{layer}.",
            ),
            *module_list("norm gpt_neox.final_layer_norm bias", "head embed_out"),
        ),
    ),
    "opt": Family(
        "OPTForCausalLM",
        "opt",
        "layer",
        (
            *module_list(
                "embedding model.decoder.embed_tokens",
                "positions_from_2 model.decoder.embed_positions",
                "norm model.decoder.final_layer_norm bias",
            ),
            *module_list(
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
            *module_list("head lm_head"),
        ),
        tied_embeddings=True,
    ),
    "bloom": Family(
        "BloomForCausalLM",
        "bloom",
        "layer",
        (
            *module_list(
                "embedding transformer.word_embeddings",
                "norm transformer.word_embeddings_layernorm bias",
            ),
            *module_list(
                "norm input_layernorm bias",
                "qkv self_attention.query_key_value bias",
                "o self_attention.dense bias",
                "norm post_attention_layernorm bias",
                "up mlp.dense_h_to_4h bias",
                "down mlp.dense_4h_to_h bias",
                prefix="transformer.h.{layer}.",
            ),
            *module_list("norm transformer.ln_f bias", "head lm_head"),
        ),
        tied_embeddings=True,
    ),
    # Falcon 7B normalises once for both branches; 40B and 180B, once for each of them.
    "falcon": Family(
        "FalconForCausalLM",
        "falcon",
        "layer",
        falcon("norm input_layernorm bias"),
        tied_embeddings=True,
    ),
    "falcon_two_norms": Family(
        "FalconForCausalLM",
        "falcon",
        "layer",
        falcon("norm ln_attn bias", "norm ln_mlp bias"),
        tied_embeddings=True,
    ),
    "mpt": Family(
        "MptForCausalLM",
        "mpt",
        "layer",
        (
            *module_list("embedding transformer.wte"),
            *module_list(
                "norm norm_1",
                "qkv attn.Wqkv",
                "o attn.out_proj",
                "norm norm_2",
                "up ffn.up_proj",
                "down ffn.down_proj",
                prefix="transformer.blocks.{layer}.",
            ),
            *module_list("norm transformer.norm_f", "head lm_head"),
        ),
        tied_embeddings=True,
    ),
    "nemotron_h": Family("NemotronHForCausalLM", "nemotron_h", "rms", NEMOTRON_H),
}
