"""The parts that a language model is made of: their roles, and the shapes that follow from them.

A module's role says which widths its weight has; how wide they are is for an ``Architecture`` to
say. All shapes are output first, as PyTorch's linear layers store them.
"""

from typing import NamedTuple

ATTENTION_WEIGHTS: dict[str, tuple[str, ...]] = {
    "q": ("query", "hidden"),
    "k": ("key", "hidden"),
    "v": ("key", "hidden"),
    "qkv": ("query_key_value", "hidden"),
    "o": ("hidden", "value"),
    "head_norm": ("head",),  # one weight vector that all heads share (Qwen3)
    "q_norm": ("query",),  # a weight per channel of all heads (OLMo 2)
    "k_norm": ("key",),
    "q_down": ("q_rank", "hidden"),
    "q_down_norm": ("q_rank",),
    "q_up": ("query", "q_rank"),
    "kv_down": ("kv_rank_and_rope", "hidden"),
    "kv_down_norm": ("kv_rank",),
    "kv_up": ("key_nope_and_value", "kv_rank"),
}
"""Attention modules: the names of the widths (output first) of their weight."""

MLP_WEIGHTS: dict[str, tuple[str, ...]] = {
    "gate": ("ffn", "hidden"),
    "up": ("ffn", "hidden"),
    "gate_up": ("gate_and_up", "hidden"),
    "down": ("hidden", "ffn"),
}
"""Modules of a dense MLP."""

MOE_WEIGHTS: dict[str, tuple[str, ...]] = {
    "router": ("experts", "hidden"),
    "router_bias": ("experts",),
    "expert_gate": ("expert_ffn", "hidden"),
    "expert_up": ("expert_ffn", "hidden"),
    "expert_down": ("hidden", "expert_ffn"),
    "shared_gate": ("shared_ffn", "hidden"),
    "shared_up": ("shared_ffn", "hidden"),
    "shared_down": ("hidden", "shared_ffn"),
}
"""Modules that replace the MLP in a mixture-of-experts layer."""

MAMBA_WEIGHTS: dict[str, tuple[str, ...]] = {
    "mamba_step": ("mamba_heads",),
    "mamba_decay": ("mamba_heads",),
    "mamba_skip": ("mamba_heads",),
    "mamba_convolution": ("mamba_convolved", "one", "mamba_window"),
    "mamba_in": ("mamba_in", "hidden"),
    "mamba_norm": ("mamba_inner",),
    "mamba_out": ("hidden", "mamba_inner"),
}
"""Modules of a Mamba-2 block."""

BLOCKS: dict[str, dict[str, tuple[str, ...]]] = {
    "M": MAMBA_WEIGHTS, "*": ATTENTION_WEIGHTS, "-": MLP_WEIGHTS, "E": MOE_WEIGHTS,
}  # fmt: skip
"""Kinds of blocks by the letter that stands for them in a hybrid model's pattern."""

LOOKUP_WEIGHTS: dict[str, tuple[str, ...]] = {
    "embedding": ("vocab", "hidden"),
    "positions": ("context", "hidden"),
    "positions_from_2": ("context_and_2", "hidden"),  # OPT inherited two unused rows from fairseq
}
"""Tables that are read row by row: no multiplication, so no FLOPs."""

WEIGHTS: dict[str, tuple[str, ...]] = {
    **LOOKUP_WEIGHTS,
    **ATTENTION_WEIGHTS,
    **MLP_WEIGHTS,
    **MOE_WEIGHTS,
    **MAMBA_WEIGHTS,
    "norm": ("hidden",),
    "head": ("vocab", "hidden"),
}


class Module(NamedTuple):
    """One weight, and perhaps its bias, of a family."""

    role: str
    """Key of ``WEIGHTS``: decides the shape."""

    name: str
    """Module name with ``{layer}`` and ``{expert}`` where it repeats."""

    bias: bool = False
    """A vector as long as the weight's output goes with it."""

    transposed: bool = False
    """The weight is stored input first, as GPT-2's ``Conv1D`` does."""

    bare: bool = False
    """The tensor has the module's name itself, without ``.weight``."""
