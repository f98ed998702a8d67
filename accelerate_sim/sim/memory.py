"""Bytes of GPU memory that a layout needs: weights, gradients, optimizer, activations, logits, and the rest.

Formulas: Rajbhandari et al. 2020 (ZeRO) for the states, Korthikanti et al. 2022 for activations, adapted to flash
attention and gated MLPs.
"""

from dataclasses import dataclass
from typing import NamedTuple

from accelerate_sim.catalog import Architecture
from accelerate_sim.sim.layout import Layout

WEIGHT_BYTES = 2
GRADIENT_BYTES = {"ddp": 4, "zero1": 4, "zero2": 4, "zero3": 2, "fsdp": 2}
OPTIMIZER_BYTES = 12
"""fp32 master weights and Adam's two moments."""
ALLOCATOR_OVERHEAD = 1.06
"""Reserved over allocated: fragments and rounding of the caching allocator."""
RESERVED_BYTES = int(0.7 * 2**30)
CONTEXT_BYTES = 3 * 2**30
"""CUDA context, NCCL channels and cuBLAS workspaces: seen by nvidia-smi, not by the allocator."""


@dataclass(frozen=True)
class MemoryUse:
    """Memory of a GPU of one pipeline stage, in bytes, by what it is for."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    logits: float
    overhead: float

    @property
    def total(self) -> float:
        """What nvidia-smi calls used."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.logits + self.overhead

    def parts(self) -> dict[str, float]:
        return {name: float(value) for name, value in vars(self).items()}


def stage_layers(model: Architecture, layout: Layout) -> int:
    """Layers of the fullest pipeline stage."""
    return -(-model.layers // layout.pipeline)


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
        return (self.dense + self.experts * layout.expert) / layout.data


def parameters_per_layer(model: Architecture, layout: Layout) -> Held:
    """Parameters of one layer that a rank holds, in the mean over all layers."""
    experts = model.moe_layers * model.moe.experts * model.expert_parameters if model.moe else 0
    head = 0 if model.tied_embeddings else model.head_parameters
    body = model.parameters - model.embedding_parameters - head - experts
    shards = model.layers * layout.tensor
    return Held(body / shards, experts / shards / layout.expert)


def parameters_per_rank(model: Architecture, layout: Layout, stage: int = 0) -> Held:
    """Parameters that a rank of this pipeline stage holds: its layers, and the embedding or the head at the ends."""
    layer, layers = parameters_per_layer(model, layout), stage_layers(model, layout)
    head = 0 if model.tied_embeddings else model.head_parameters
    ends = (model.embedding_parameters if stage == 0 else 0) + (head if stage == layout.pipeline - 1 else 0)
    return Held(layer.dense * layers + ends / layout.tensor, layer.experts * layers)


def activation_bytes(model: Architecture, layout: Layout, recompute: str, stage: int = 0) -> float:
    """Activations that a rank keeps from forward to backward, for all micro-batches in flight."""
    tokens = layout.micro_batch * layout.sequence_length / layout.context
    kept = _full_layer_bytes(model, layout, tokens)
    working = 0.0
    if recompute == "full":
        # Only each layer's input is kept; one layer at a time is there in full while it is computed again.
        working = 2.0 * kept + (6.0 * tokens * model.hidden if layout.tensor > 1 else 0.0)
        kept = 2.0 * tokens * model.hidden / (layout.tensor if layout.tensor > 1 else 1)
    in_flight = min(layout.pipeline - stage, layout.accumulation) if layout.pipeline > 1 else 1
    interleaving = (
        1 + (layout.pipeline - 1) / (layout.pipeline * layout.virtual_stages) if layout.virtual_stages > 1 else 1
    )
    return kept * stage_layers(model, layout) * in_flight * interleaving + working


def _full_layer_bytes(model: Architecture, layout: Layout, tokens: float) -> float:
    heads, kv_heads, head_dim = model.heads, model.kv_heads, model.head_dim
    projections = 2 * (heads + 2 * kv_heads) * head_dim + 2 * heads * head_dim
    width = active_ffn(model) * (6 if model.gated_mlp else 4)
    return tokens / layout.tensor * (8 * model.hidden + projections + width + 4 * heads)


def active_ffn(model: Architecture) -> float:
    """Inner width of the MLPs that a token visits in one layer, in channels."""
    if model.moe is None:
        return float(model.ffn)
    return float(model.moe.ffn * (model.moe.active_experts + model.moe.shared_experts))


def memory_use(model: Architecture, layout: Layout, recompute: str, stage: int = 0) -> MemoryUse:
    """Peak memory of a GPU of this pipeline stage."""
    held = parameters_per_rank(model, layout, stage)
    whole, shard = held.total, held.shard(layout)
    gradient_bytes = GRADIENT_BYTES[layout.sharding]
    weights = WEIGHT_BYTES * (shard if layout.sharding in ("fsdp", "zero3") else whole)
    gradients = gradient_bytes * (whole if layout.sharding in ("ddp", "zero1") else shard)
    optimizer = OPTIMIZER_BYTES * (whole if layout.sharding == "ddp" else shard)
    if layout.sharding in ("fsdp", "zero3"):
        # Two layers are gathered at a time; with a pipeline the stage stays gathered over its micro-batches.
        two_layers = 2 * whole / stage_layers(model, layout)
        weights += WEIGHT_BYTES * (whole if layout.pipeline > 1 else two_layers)
        gradients += gradient_bytes * two_layers
    activations = activation_bytes(model, layout, recompute, stage)
    tokens = layout.micro_batch * layout.sequence_length / layout.context
    logits = 8.0 * tokens * model.vocab / layout.tensor if stage == layout.pipeline - 1 else 0.0
    allocated = weights + gradients + optimizer + activations + logits
    overhead = (ALLOCATOR_OVERHEAD - 1) * allocated + RESERVED_BYTES + CONTEXT_BYTES
    return MemoryUse(weights, gradients, optimizer, activations, logits, overhead)


def peak_memory_use(model: Architecture, layout: Layout, recompute: str) -> MemoryUse:
    """Memory of the fullest stage: it decides whether the layout fits."""
    stages = {0, layout.pipeline - 1}
    return max((memory_use(model, layout, recompute, stage) for stage in stages), key=lambda use: use.total)
