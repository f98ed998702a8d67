"""Bytes of a layer's activations: what it keeps from forward to backward, and what its backward pass needs at once.

Formulas: Korthikanti et al. 2022, adapted to flash attention, gated MLPs, experts and fp8. Weights and their gradients
are in ``memory.py``.
"""

from typing import NamedTuple

from accelerate_sim.catalog import Architecture
from accelerate_sim.sim.layout import Layout
from accelerate_sim.sim.method import Method

CHEAP_FIRST = 1.5
"""Share of memory that recomputing frees over the share of work it costs, as the cheapest is recomputed first."""
SCORE_BYTES = 5.0
"""Bytes of an attention score: in half precision before and after the softmax, and its dropout mask."""
SCORE_GRADIENT_BYTES = 4.0
"""Bytes of the gradients of a score before and after the softmax."""


class Activations(NamedTuple):
    """Bytes of one layer and one micro-batch on a rank."""

    kept: float
    """Bytes kept from the forward to the backward pass."""
    working: float
    """Bytes beside those while the backward pass runs: recomputed activations, and gradients of activations."""


def layer_activations(model: Architecture, layout: Layout, method: Method) -> Activations:
    """Return the activations of one layer, in the mean over layers."""
    tokens = layout.micro_batch * layout.sequence_length / layout.context
    full = _layer_bytes(model, layout, method, tokens)
    kept = full
    if method.recomputes_attention:
        kept -= _attention_core_bytes(model, layout, method, tokens)
    if method.recompute_share:
        # Each layer's input is kept, and what is not computed again.
        entry = 2.0 * tokens * model.hidden / (layout.tensor if layout.sequence_parallel else 1)
        kept = entry + max(0.0, kept - entry) * max(0.0, 1 - CHEAP_FIRST * method.recompute_share)
    working = full - kept + _gradient_bytes(model, layout, method, tokens)
    return Activations(kept, working)


def micro_batches_in_flight(layout: Layout, stage: int) -> float:
    """Return the micro-batches whose backward pass has not begun (Narayanan et al. 2021), in whole stages of layers.

    Interleaved, the last stage too has begun nearly all chunks of ``pipeline`` micro-batches before the first returns.
    """
    left, chunks = layout.pipeline - stage, layout.virtual_stages
    begun = left if chunks == 1 else (2 * (left - 1) + (chunks - 1) * layout.pipeline + 1) / chunks
    return min(begun, layout.accumulation)


def _layer_bytes(model: Architecture, layout: Layout, method: Method, tokens: float) -> float:
    """Return one layer's activations with nothing computed again, in bytes."""
    shards = layout.tensor
    hidden = model.hidden / (shards if layout.sequence_parallel else 1)
    if method.stack.attention == "unfused":
        # Korthikanti et al. 2022: 10 bytes a channel outside the tensor-parallel regions, 24 inside, and the scores.
        return tokens * (10 * hidden + 24 * model.hidden / shards) + _scores(model, layout, tokens) * SCORE_BYTES
    # Inputs of matrix products are kept in the product's precision where the software can.
    each = narrow_bytes(method) if method.keeps_narrow else 2.0
    heads = model.heads * (model.head_dim + model.v_head_dim) + model.kv_heads * (model.head_dim + model.v_head_dim)
    attention = 2.0 * heads + (1 if method.keeps_narrow else 0) * model.heads * model.v_head_dim + 4 * model.heads
    width = active_ffn(model) * ((4 if model.gated_mlp else 2) + each)
    norms = (8.0 if method.norms_in_fp32 else 4.0) + 2 * each
    routed = 0.0
    if model.moe:  # copies of tokens for their experts, and what these return
        routed = (each + (0 if method.drops_expert_outputs else 2)) * model.hidden * model.moe.active_experts
    if model.hybrid_pattern:  # one block a layer, in the mean over those of the pattern
        norms *= model.blocks_per_layer / 2
        attention *= model.attention_layers / model.layers
        width *= (model.dense_layers + model.moe_layers) / model.layers
        routed *= model.moe_layers / model.layers
        attention += _mamba_bytes(model) * model.mamba_layers / model.layers
    return tokens * (norms * hidden + (attention + width + routed) / shards)


def _mamba_bytes(model: Architecture) -> float:
    """Return the bytes a token that a Mamba-2 block keeps: what goes into it, what is convolved, and its result.

    The states between chunks, as many bytes as the result, are computed again (Dao and Gu 2024, section 6).
    """
    if model.mamba is None:
        return 0.0
    widths = model.mamba.widths()
    return 2.0 * (widths["mamba_in"] + widths["mamba_convolved"] + 2 * model.mamba.inner)


def narrow_bytes(method: Method) -> float:
    """Return the bytes of a number in the format of narrow matrix products, with its share of a scale."""
    return 0.5 + 1 / 16 if method.precision == "nvfp4" else 1.0


def _attention_core_bytes(model: Architecture, layout: Layout, method: Method, tokens: float) -> float:
    """Return the bytes that recomputing attention frees: the scores, or what a flash kernel keeps of them.

    Its result is the next product's input and stays, unless that is kept in fp8.
    """
    if method.stack.attention == "unfused":
        return _scores(model, layout, tokens) * SCORE_BYTES
    result = 2 * model.v_head_dim if method.keeps_narrow else 0
    return tokens * model.heads * (4 + result) / layout.tensor * model.attention_layers / model.layers


def _gradient_bytes(model: Architecture, layout: Layout, method: Method, tokens: float) -> float:
    """Return the bytes of the gradients of one layer's activations; the MLP's and the scores' are not there at once."""
    hidden = model.hidden / (layout.tensor if layout.sequence_parallel else 1)
    width = active_ffn(model) * (6 if model.gated_mlp else 4) * tokens / layout.tensor
    scores = SCORE_GRADIENT_BYTES * _scores(model, layout, tokens) if method.stack.attention == "unfused" else 0.0
    # Tensor-parallel ranks gather what they have split: the input, its gradient, the gradient of the output.
    gathered = 6.0 * tokens * model.hidden if layout.tensor > 1 else 0.0
    return 4 * tokens * hidden + max(width, scores) + gathered


def _scores(model: Architecture, layout: Layout, tokens: float) -> float:
    """Return the number of attention scores on a rank."""
    return tokens * layout.sequence_length * model.heads / layout.tensor


def active_ffn(model: Architecture) -> float:
    """Return the inner width of the MLPs that a token visits in one layer, in channels."""
    if model.moe is None:
        return float(model.ffn)
    return float(model.moe.ffn * (model.moe.active_experts + model.moe.shared_experts))
