"""Bytes of GPU memory that a layout needs: weights, gradients, optimizer, activations, logits, and the rest.

Formulas of the states: Rajbhandari et al. 2020 (ZeRO); activations are in ``activations.py``. Most is allocated at one
of two moments: the end of the forward pass, with the logits, or the backward pass of a layer, with what that
computes again. The allocator keeps the blocks of both: so says what torchtitan reserved, and so do the largest
micro-batches that llm-foundry's users found to fit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from accelerate_sim import catalog
from accelerate_sim.catalog import Architecture
from accelerate_sim.sim.layout import Layout
from accelerate_sim.sim.memory.activations import layer_activations, micro_batches_in_flight
from accelerate_sim.sim.memory.optimizer_state import optimizer_state_bytes, step_copy_bytes
from accelerate_sim.sim.method import Method

WEIGHT_BYTES = 2
FP32_BYTES = 4
GRADIENT_BYTES = {"ddp": 4, "zero1": 4, "zero2": 4, "zero3": 2, "fsdp": 2}
OPTIMIZER_BYTES = 12
"""Bytes of AdamW's state for a parameter: fp32 master weight and two moments."""
NARROW_GRADIENT_BYTES = 2
"""Bytes of a gradient where the software adds and reduces gradients in half precision, whatever is sharded."""
LEAST_FRAGMENTS = 0.02
"""Gaps over what is allocated that stay when the allocator has given back all free blocks."""
FULL_SHARE = 0.985
"""Share of a GPU's memory in use where a run just fits, although more was expected."""
SHARDED = ("fsdp", "zero3")
"""Shardings that split weights as well; weights are then gathered from master weights in half precision."""


@dataclass(frozen=True)
class MemoryUse:
    """Memory of a GPU of one pipeline stage, in bytes, by what it is for."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    """Activations that all layers keep from forward to backward, of all micro-batches in flight."""
    logits: float
    """Logits and their gradients, at the end of the forward pass."""
    working: float
    """Memory of a layer's backward pass beside the activations: recomputed ones, and gradients of them."""
    in_flight: float
    """Gradients of one matrix before they are added to the others, buckets of them on their way."""
    buffers: float
    """Fragments of the caching allocator, and blocks that it keeps for later."""
    context: float
    """CUDA context, NCCL channels and cuBLAS workspaces, which nvidia-smi counts and the allocator does not."""

    @property
    def total(self) -> float:
        """Bytes that nvidia-smi calls used."""
        return self.reserved + self.context

    @property
    def allocated(self) -> float:
        """Bytes that torch.cuda.max_memory_allocated returns."""
        return self._needed - min(self.logits, self.working)

    @property
    def reserved(self) -> float:
        """Bytes that torch.cuda.max_memory_reserved returns."""
        return self._needed + self.buffers

    @property
    def least(self) -> float:
        """Bytes that have to be there: the total without blocks that the allocator gives back when memory is short."""
        return self._needed * (1 + LEAST_FRAGMENTS) + self.context

    @property
    def _needed(self) -> float:
        states = self.weights + self.gradients + self.optimizer
        return states + self.activations + self.logits + self.working + self.in_flight

    def within(self, capacity: float) -> "MemoryUse":
        """Return the same on a GPU of ``capacity`` bytes: blocks beyond the need are given back, the need stays."""
        spare = self.total - max(self.least, capacity)
        return replace(self, buffers=self.buffers - spare) if spare > 0 else self

    def squeezed(self, capacity: float) -> "MemoryUse":
        """Return the same use, scaled down where it exceeds a GPU of ``capacity`` bytes to what a full one shows."""
        share = min(1.0, FULL_SHARE * capacity / self.total) if self.total > capacity else 1.0
        return replace(self, **{name: size * share for name, size in self.parts().items()})

    def parts(self) -> dict[str, float]:
        """Return the bytes by what they are for."""
        return {name: float(value) for name, value in vars(self).items()}


def gradient_bytes(layout: Layout, method: Method) -> float:
    """Return the bytes of a parameter's gradient."""
    if method.gradient_bytes is not None:
        return method.gradient_bytes
    return NARROW_GRADIENT_BYTES if "gradients" in method.stack.narrow else GRADIENT_BYTES[layout.sharding]


def stage_layers(model: Architecture, layout: Layout) -> int:
    """Return the layers of the fullest pipeline stage."""
    return -(-model.layers // layout.pipeline)


def reduced_gradient_bytes(layout: Layout, method: Method) -> float:
    """Return the bytes of a parameter's gradient while it is reduced over the replicas."""
    held = gradient_bytes(layout, method)
    sent = method.stack.reduced_gradient_bytes if method.gradient_bytes is None else FP32_BYTES
    return min(float(sent), held)


def gathered_weight_bytes(method: Method) -> float:
    """Return the bytes of a weight while it is gathered from the replicas that share its state."""
    # MXFP8 scales rows and columns apart, so both need the weight in bf16.
    return 1.0 if method.precision == "fp8" and method.stack.gathers_fp8_weights else float(WEIGHT_BYTES)


def gathers_once(model: Architecture, layout: Layout, method: Method) -> bool:
    """Return True where a step gathers sharded weights once and reduces their gradients once.

    PyTorch's pipelines do so, as their micro-batches would else gather a stage anew; AutoModel does for all experts.
    """
    kept = layout.pipeline > 1 or (method.stack.keeps_gathered and model.moe is not None)
    return layout.sharding in SHARDED and kept


def reduces_often(model: Architecture, layout: Layout, method: Method) -> bool:
    """Return True where gradients are reduced after every micro-batch, as no rank has room for all of them."""
    sharded = layout.sharding in SHARDED and not gathers_once(model, layout, method)
    return sharded or layout.sharding == "zero2"


class Held(NamedTuple):
    """Parameters that a rank works with, before any sharding over data-parallel ranks."""

    dense: float
    experts: float
    """Experts' parameters of this rank, already spread over the expert-parallel ranks."""

    @property
    def total(self) -> float:
        return self.dense + self.experts

    def split(self, layout: Layout) -> float:
        """Parameters that replicas can split, as more than one of them has a copy."""
        if layout.shards == 1:
            return 0.0
        return self.dense + (self.experts if self.experts and layout.expert_ranks > 1 else 0.0)

    def shard(self, layout: Layout) -> float:
        """Parameters of a rank where replicas split them; an expert has fewer replicas than the rest."""
        shards = layout.shards
        return self.dense / shards + (self.experts / min(shards, layout.expert_ranks) if self.experts else 0.0)


def parameters_per_layer(model: Architecture, layout: Layout) -> Held:
    """Return the parameters of one layer that a rank holds, in the mean over all layers."""
    experts = model.moe_layers * model.moe.experts * model.expert_parameters if model.moe else 0
    head = 0 if model.tied_embeddings else model.head_parameters
    body = model.parameters - model.embedding_parameters - head - experts
    return Held(body / model.layers / layout.tensor, experts / model.layers / layout.expert / layout.expert_tensor)


def parameters_per_rank(model: Architecture, layout: Layout, stage: int = 0) -> Held:
    """Return the parameters of a rank of this pipeline stage: its layers, and embedding or head at the ends."""
    layer, layers = parameters_per_layer(model, layout), stage_layers(model, layout)
    last = stage == layout.pipeline - 1
    # A tied head is a copy on the last stage, unless that is the first one.
    head = model.head_parameters if last and not (model.tied_embeddings and layout.pipeline == 1) else 0
    ends = (model.embedding_parameters if stage == 0 else 0) + head
    return Held(layer.dense * layers + ends / layout.tensor, layer.experts * layers)


def memory_use(
    model: Architecture, layout: Layout, method: Method, stage: int = 0, constants: Mapping[str, float] | None = None
) -> MemoryUse:
    """Return the peak memory of a GPU of this pipeline stage."""
    k = catalog.constants() if constants is None else constants
    held = parameters_per_rank(model, layout, stage)
    whole, shard = held.total, held.shard(layout)
    per_gradient = gradient_bytes(layout, method)
    per_state = optimizer_state_bytes(model, method)
    sharded, once = layout.sharding in SHARDED, gathers_once(model, layout, method)
    weights = 0.0 if sharded else float(WEIGHT_BYTES * whole)
    gradients = per_gradient * (whole if layout.sharding in ("ddp", "zero1") else shard)
    optimizer = per_state * (whole if layout.sharding == "ddp" else shard)
    if sharded:
        # Two layers are gathered at a time, or all of the stage for all micro-batches. What one rank holds alone is
        # there already.
        gathered = held.split(layout)
        two_layers = min(gathered, 2 * parameters_per_layer(model, layout).split(layout))
        weights = WEIGHT_BYTES * (shard + (gathered if once else two_layers))
        gradients += per_gradient * two_layers
    layer = layer_activations(model, layout, method)
    kept_layers = max(0, stage_layers(model, layout) - method.offloaded_layers)
    activations = layer.kept * kept_layers * micro_batches_in_flight(layout, stage)
    if once and layout.accumulation == 1:
        # Gradients come as the backward pass gives up gathered weights and activations: not all are there at once.
        gradients -= min(gradients, activations + weights - WEIGHT_BYTES * shard)
    logits = _logit_bytes(model, layout, method, k) if stage == layout.pipeline - 1 else 0.0
    if method.stack.makes_gradients and layout.accumulation == 1:
        # Of the end of the forward pass, of the backward pass, and of the optimizer's step, one needs most.
        forward = activations + max(logits, layer.working)
        in_step = per_gradient * shard + step_copy_bytes(method) * shard - (weights - WEIGHT_BYTES * shard)
        gradients = max(0.0, max(gradients + layer.working, in_step) - forward)
    in_flight = 0.0 if sharded else WEIGHT_BYTES * _largest_matrix(model, layout, stage)
    if method.stack.overlap == "serial":
        in_flight += k["bucket_bytes"]
    needed = weights + gradients + optimizer + activations + logits + layer.working + in_flight
    buffers = k["allocator_share"] * needed + k["allocator_bytes"]
    context = k["context_bytes"]
    return MemoryUse(weights, gradients, optimizer, activations, logits, layer.working, in_flight, buffers, context)


def _logit_bytes(model: Architecture, layout: Layout, method: Method, k: Mapping[str, float]) -> float:
    """Return the bytes of logits and their gradients that are there at once: one micro-batch's, or a part of it."""
    tokens = layout.micro_batch * layout.sequence_length / layout.context / method.loss_chunks
    whole = method.compiled and method.stack.compiles == "whole"
    how = "compiled" if whole else "merged" if "logits" in method.stack.narrow else method.stack.kernels
    return k[f"logit_bytes.{how}"] * tokens * model.vocab / layout.tensor


def _largest_matrix(model: Architecture, layout: Layout, stage: int) -> float:
    """Return the parameters of the largest single matrix on a rank."""
    mlp = model.hidden * model.ffn * (2 if model.gated_mlp else 1) if model.dense_layers else 0
    ends = model.vocab * model.hidden if stage in (0, layout.pipeline - 1) else 0
    return max(mlp, ends) / layout.tensor


def peak_memory_use(
    model: Architecture, layout: Layout, method: Method, constants: Mapping[str, float] | None = None
) -> MemoryUse:
    """Return the memory of the fullest stage, which decides whether the layout fits."""
    stages = {0, layout.pipeline - 1}
    uses = (memory_use(model, layout, method, stage, constants) for stage in stages)
    return max(uses, key=lambda use: use.total)
