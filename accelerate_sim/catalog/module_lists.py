"""Lists of modules that the model classes of several families share, and the form in which such a list is written."""

from accelerate_sim.catalog.modules import Module


def module_list(*lines: str, prefix: str = "") -> tuple[Module, ...]:
    """Read lines of ``role name [bias] [transposed] [bare]``."""
    rows = [line.split() for line in lines]
    return tuple(Module(role, prefix + name, **dict.fromkeys(flags, True)) for role, name, *flags in rows)


def decoder(*layer: str) -> tuple[Module, ...]:
    """Return the frame that Llama and its many descendants share, around the modules of a layer."""
    return (
        *module_list("embedding model.embed_tokens"),
        *module_list(*layer, prefix="model.layers.{layer}."),
        *module_list("norm model.norm", "head lm_head"),
    )


QKV = ("q self_attn.q_proj", "k self_attn.k_proj", "v self_attn.v_proj")
ATTENTION = (*QKV, "o self_attn.o_proj")
QWEN2_ATTENTION = (*(f"{line} bias" for line in QKV), "o self_attn.o_proj")
QWEN3_ATTENTION = (*ATTENTION, "head_norm self_attn.q_norm", "head_norm self_attn.k_norm")
OLMO_ATTENTION = (*ATTENTION, "q_norm self_attn.q_norm", "k_norm self_attn.k_norm")
LATENT_ATTENTION = (
    "q self_attn.q_proj",  # either this one or the next three: see Architecture._modules
    "q_down self_attn.q_a_proj",
    "q_down_norm self_attn.q_a_layernorm",
    "q_up self_attn.q_b_proj",
    "kv_down self_attn.kv_a_proj_with_mqa",
    "kv_down_norm self_attn.kv_a_layernorm",
    "kv_up self_attn.kv_b_proj",
    "o self_attn.o_proj",
)
GATED_MLP = ("gate mlp.gate_proj", "up mlp.up_proj", "down mlp.down_proj")
EXPERTS = (
    "expert_gate mlp.experts.{expert}.gate_proj",
    "expert_up mlp.experts.{expert}.up_proj",
    "expert_down mlp.experts.{expert}.down_proj",
)
SHARED_EXPERTS = (
    "shared_gate mlp.shared_experts.gate_proj",
    "shared_up mlp.shared_experts.up_proj",
    "shared_down mlp.shared_experts.down_proj",
)
NORMS = ("norm input_layernorm", "norm post_attention_layernorm")

LLAMA = decoder(*ATTENTION, *GATED_MLP, *NORMS)

DEEPSEEK_V2 = (*GATED_MLP, *EXPERTS, "router mlp.gate", *SHARED_EXPERTS, *NORMS)
DEEPSEEK_V3 = (
    *(*GATED_MLP, *EXPERTS, "router mlp.gate"),
    "router_bias mlp.gate.e_score_correction_bias bare",
    *(*SHARED_EXPERTS, *NORMS),
)


NEMOTRON_H = (
    *module_list("embedding backbone.embeddings"),
    *module_list(
        "norm norm",
        "mamba_step mixer.dt_bias bare", "mamba_decay mixer.A_log bare", "mamba_skip mixer.D bare",
        "mamba_convolution mixer.conv1d bias", "mamba_in mixer.in_proj", "mamba_norm mixer.norm",
        "mamba_out mixer.out_proj", "q mixer.q_proj", "k mixer.k_proj", "v mixer.v_proj", "o mixer.o_proj",
        "up mixer.up_proj", "down mixer.down_proj",
        "expert_up mixer.experts.{expert}.up_proj", "expert_down mixer.experts.{expert}.down_proj",
        "router mixer.gate", "router_bias mixer.gate.e_score_correction_bias bare",
        "shared_up mixer.shared_experts.up_proj", "shared_down mixer.shared_experts.down_proj",
        prefix="backbone.layers.{layer}.",
    ),
    *module_list("norm backbone.norm_f", "head lm_head"),
)  # fmt: skip
"""A hybrid model, of whose blocks each layer has one: see ``tensors.block_modules``."""


def falcon(*norms: str) -> tuple[Module, ...]:
    """Return the modules of a Falcon model; ``norms`` follow the matrices of each layer."""
    return (
        *module_list("embedding transformer.word_embeddings"),
        *module_list(
            "qkv self_attention.query_key_value",
            "o self_attention.dense",
            "up mlp.dense_h_to_4h",
            "down mlp.dense_4h_to_h",
            *norms,
            prefix="transformer.h.{layer}.",
        ),
        *module_list("norm transformer.ln_f bias", "head lm_head"),
    )
