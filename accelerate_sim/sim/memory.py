"""Bytes of GPU memory that a layout needs: weights, gradients, optimizer, activations, logits, and the rest.

Formulas: Rajbhandari et al. 2020 (ZeRO) for the states, Korthikanti et al. 2022 for activations, adapted to flash
attention, gated MLPs and experts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from accelerate_sim import catalog
from accelerate_sim.catalog import Architecture
from accelerate_sim.sim.layout import Layout
from accelerate_sim.sim.method import Method

WEIGHT_BYTES = 2
FP32_BYTES = 4
GRADIENT_BYTES = {"ddp": 4, "zero1": 4, "zero2": 4, "zero3": 2, "fsdp": 2}
OPTIMIZER_BYTES = 12
"""fp32 master weights and Adam's two moments."""
CHEAP_FIRST = 1.5
"""Memory that recomputing frees over the work it costs: what is cheapest to compute again is dropped first."""
SHARDED = ("fsdp", "zero3")
"""What splits weights as well; master weights are then the weights, gathered in half precision."""


@dataclass(frozen=True)
class MemoryUse:
    """Memory of a GPU of one pipeline stage, in bytes, by what it is for."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    logits: float
    in_flight: float
    """Gradients of one matrix before they are added to the others, buckets of them on their way."""
    buffers: float
    """Fragments of the caching allocator."""
    context: float
    """CUDA context, NCCL channels and cuBLAS workspaces: seen by nvidia-smi, not by the allocator."""

    @property
    def total(self) -> float:
        """What nvidia-smi calls used."""
        return self.reserved + self.context

    @property
    def allocated(self) -> float:
        """What torch.cuda.max_memory_allocated says."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.logits + self.in_flight

    @property
    def reserved(self) -> float:
        """What torch.cuda.max_memory_reserved says."""
        return self.allocated + self.buffers

    def parts(self) -> dict[str, float]:
        return {name: float(value) for name, value in vars(self).items()}


def stage_layers(model: Architecture, layout: Layout) -> int:
    """Layers of the fullest pipeline stage."""
    return -(-model.layers // layout.pipeline)


def gradient_bytes(layout: Layout, method: Method) -> float:
    """Bytes of a parameter's gradient."""
    return GRADIENT_BYTES[layout.sharding] if method.gradient_bytes is None else method.gradient_bytes


def reduced_gradient_bytes(layout: Layout, method: Method) -> float:
    """Bytes of a parameter's gradient while it is reduced over the replicas."""
    held = gradient_bytes(layout, method)
    sent = method.stack.reduced_gradient_bytes if method.gradient_bytes is None else FP32_BYTES
    return min(float(sent), held)


def gathered_weight_bytes(method: Method) -> float:
    """Bytes of a weight while it is gathered from the replicas that share its state."""
    # MXFP8 scales rows and columns apart, so both need the weight in bf16.
    return 1.0 if method.precision == "fp8" and method.stack.gathers_fp8_weights else float(WEIGHT_BYTES)


class Held(NamedTuple):
    """Parameters that a rank works with, before any sharding over data-parallel ranks."""

    dense: float
    experts: float
    """Already spread over the expert-parallel ranks."""

    @property
    def total(self) -> float:
        return self.dense + self.experts

    def shard(self, layout: Layout) -> float:
        """What is left when replicas split it; an expert has fewer replicas than the rest."""
        return self.dense / layout.shards + self.experts / min(layout.shards, layout.expert_ranks)


def parameters_per_layer(model: Architecture, layout: Layout) -> Held:
    """Parameters of one layer that a rank holds, in the mean over all layers."""
    experts = model.moe_layers * model.moe.experts * model.expert_parameters if model.moe else 0
    head = 0 if model.tied_embeddings else model.head_parameters
    body = model.parameters - model.embedding_parameters - head - experts
    return Held(body / model.layers / layout.tensor, experts / model.layers / layout.expert / layout.expert_tensor)


def parameters_per_rank(model: Architecture, layout: Layout, stage: int = 0) -> Held:
    """Parameters that a rank of this pipeline stage holds: its layers, and the embedding or the head at the ends."""
    layer, layers = parameters_per_layer(model, layout), stage_layers(model, layout)
    last = stage == layout.pipeline - 1
    # A tied head is a copy on the last stage, unless that is the first one.
    head = model.head_parameters if last and not (model.tied_embeddings and layout.pipeline == 1) else 0
    ends = (model.embedding_parameters if stage == 0 else 0) + head
    return Held(layer.dense * layers + ends / layout.tensor, layer.experts * layers)


def activation_bytes(model: Architecture, layout: Layout, method: Method, stage: int = 0) -> float:
    """Activations that a rank keeps from forward to backward, for all micro-batches in flight."""
    tokens = layout.micro_batch * layout.sequence_length / layout.context
    full = _layer_bytes(model, layout, method, tokens)
    share = method.recompute_share
    kept, working = full, 0.0
    if method.recomputes_attention and method.stack.attention == "unfused":
        kept = full - _score_bytes(model, layout, tokens)
    if share:
        # Each layer's input is kept, and what is not computed again.
        entry = 2.0 * tokens * model.hidden / (layout.tensor if layout.sequence_parallel else 1)
        kept = entry + max(0.0, full - entry) * max(0.0, 1 - CHEAP_FIRST * share)
        # One layer is there in full, with the gradients of its activations, and gathered where it is split.
        working = 2.0 * (full - kept) + (6.0 * tokens * model.hidden if layout.tensor > 1 else 0.0) * share
    in_flight = min(layout.pipeline - stage, layout.accumulation) if layout.pipeline > 1 else 1
    more = 1 + (layout.pipeline - 1) / (layout.pipeline * layout.virtual_stages) if layout.virtual_stages > 1 else 1
    return kept * stage_layers(model, layout) * in_flight * more + working


def _layer_bytes(model: Architecture, layout: Layout, method: Method, tokens: float) -> float:
    """One layer's activations with nothing computed again."""
    shards = layout.tensor
    hidden = model.hidden / (shards if layout.sequence_parallel else 1)
    if method.stack.attention == "unfused":
        # Korthikanti et al. 2022: 10 bytes a channel outside the tensor-parallel regions, 24 inside, and the scores.
        return tokens * (10 * hidden + 24 * model.hidden / shards) + _score_bytes(model, layout, tokens)
    heads, kv_heads, head_dim = model.heads, max(model.kv_heads, 1), model.head_dim
    projections = 2 * (heads + 2 * kv_heads) * head_dim + 2 * heads * model.v_head_dim
    width = active_ffn(model) * (6 if model.gated_mlp else 4)
    routed = 4 * model.hidden * model.moe.active_experts if model.moe else 0  # copies of tokens for their experts
    per_channel = 12 if method.kernels == "eager" else 8  # norms in fp32 unless they are fused
    return tokens * (per_channel * hidden + (projections + width + routed + 4 * heads) / shards)


def _score_bytes(model: Architecture, layout: Layout, tokens: float) -> float:
    """Scores, their softmax and its dropout, for attention that keeps them."""
    return 5.0 * tokens * layout.sequence_length * model.heads / layout.tensor


def active_ffn(model: Architecture) -> float:
    """Inner width of the MLPs that a token visits in one layer, in channels."""
    if model.moe is None:
        return float(model.ffn)
    return float(model.moe.ffn * (model.moe.active_experts + model.moe.shared_experts))


def memory_use(
    model: Architecture, layout: Layout, method: Method, stage: int = 0, constants: Mapping[str, float] | None = None
) -> MemoryUse:
    """Peak memory of a GPU of this pipeline stage."""
    k = catalog.constants() if constants is None else constants
    held = parameters_per_rank(model, layout, stage)
    whole, shard = held.total, held.shard(layout)
    per_gradient = gradient_bytes(layout, method)
    sharded = layout.sharding in SHARDED
    weights = 0.0 if sharded else float(WEIGHT_BYTES * whole)
    gradients = per_gradient * (whole if layout.sharding in ("ddp", "zero1") else shard)
    optimizer = OPTIMIZER_BYTES * (whole if layout.sharding == "ddp" else shard)
    if sharded:
        # Two layers are gathered at a time; with a pipeline the stage stays gathered over its micro-batches.
        two_layers = min(whole, 2 * parameters_per_layer(model, layout).total)
        weights = WEIGHT_BYTES * (shard + (whole if layout.pipeline > 1 else two_layers))
        gradients += per_gradient * two_layers
    activations = activation_bytes(model, layout, method, stage)
    tokens = layout.micro_batch * layout.sequence_length / layout.context
    per_logit = k[f"logit_bytes.{method.stack.kernels}"]
    logits = per_logit * tokens * model.vocab / layout.tensor if stage == layout.pipeline - 1 else 0.0
    in_flight = 0.0 if sharded else WEIGHT_BYTES * _largest_matrix(model, layout, stage)
    if method.stack.overlap == "serial":
        in_flight += k["bucket_bytes"]
    allocated = weights + gradients + optimizer + activations + logits + in_flight
    buffers = k["allocator_share"] * allocated + k["allocator_bytes"]
    return MemoryUse(weights, gradients, optimizer, activations, logits, in_flight, buffers, k["context_bytes"])


def _largest_matrix(model: Architecture, layout: Layout, stage: int) -> float:
    """Parameters of the largest single matrix on a rank."""
    mlp = model.hidden * model.ffn * (2 if model.gated_mlp else 1) if model.dense_layers else 0
    ends = model.vocab * model.hidden if stage in (0, layout.pipeline - 1) else 0
    return max(mlp, ends) / layout.tensor


def peak_memory_use(
    model: Architecture, layout: Layout, method: Method, constants: Mapping[str, float] | None = None
) -> MemoryUse:
    """Memory of the fullest stage: it decides whether the layout fits."""
    stages = {0, layout.pipeline - 1}
    uses = (memory_use(model, layout, method, stage, constants) for stage in stages)
    return max(uses, key=lambda use: use.total)
