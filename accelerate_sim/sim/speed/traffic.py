"""Bytes that a GPU sends in one optimizer step: over NVLink, and over PCIe to its network adapter.

Sizes and groups of the collectives are those whose time ``throughput.py`` counts. What leaves the NVLink domain goes
over PCIe, as with GPUDirect RDMA; without NVLink all of it does. Left out: texts (megabytes a step) and checkpoints.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from accelerate_sim.catalog import Architecture, GpuSpec
from accelerate_sim.sim.layout import Group, Layout
from accelerate_sim.sim.memory.memory import (
    gathered_weight_bytes,
    gathers_once,
    parameters_per_rank,
    reduced_gradient_bytes,
    stage_layers,
)
from accelerate_sim.sim.method import Method
from accelerate_sim.sim.speed.communication import HIDDEN_BYTES
from accelerate_sim.sim.speed.network import Network


@dataclass(frozen=True)
class Traffic:
    """Bytes of one step, sent by one GPU; it receives as many."""

    nvlink_bytes: float
    pcie_bytes: float

    @classmethod
    def of(cls, model: Architecture, gpu: GpuSpec, layout: Layout, method: Method) -> "Traffic":
        """Return the traffic of a GPU of the first pipeline stage."""
        nvlink = pcie = 0.0
        for collective, size_bytes, group, times in _collectives(model, layout, method):
            if group.size == 1:
                continue
            on_bus = Network.bus_factor(collective, group) * size_bytes * times
            nics = 1 if collective == "all_to_all" else group.per_domain
            leaving = (group.size - group.per_domain) / (group.size - 1) / nics if group.num_domains > 1 else 0.0
            pcie += on_bus * leaving
            nvlink += on_bus * (1.0 - leaving)
        near, far = _to_next_stage(model, layout)
        nvlink, pcie = nvlink + near, pcie + far
        return cls(nvlink, pcie) if gpu.nvlink_bytes_per_s else cls(0.0, nvlink + pcie)


def _collectives(model: Architecture, layout: Layout, method: Method) -> Iterator[tuple[str, float, Group, float]]:
    """Yield (name, bytes as ``Network.seconds`` counts them, group, times a step) of each collective."""
    tokens = layout.micro_batch * layout.sequence_length / layout.context
    layers = stage_layers(model, layout) * layout.accumulation
    # Forward and backward reduce hidden states once a block each.
    yield "all_reduce", HIDDEN_BYTES * tokens * model.hidden, layout.tensor_group, 2 * model.blocks_per_layer * layers
    heads = model.kv_heads / min(layout.tensor, model.kv_heads)
    keys_and_values = 2 * HIDDEN_BYTES * tokens * heads * model.head_dim * layout.context
    yield "all_gather", keys_and_values, layout.context_group, 3 * layers * model.attention_layers / model.layers
    if model.moe:
        sent = HIDDEN_BYTES * tokens / layout.tensor * model.hidden * model.moe.active_experts
        yield "all_to_all", sent, layout.expert_group, 4 * layers * model.moe_layers / model.layers
    held = parameters_per_rank(model, layout)
    gradient = reduced_gradient_bytes(layout, method)
    sharded = layout.sharding in ("fsdp", "zero3")
    # Whoever keeps only a shard of the weights gathers them for both passes, and anew for every micro-batch.
    once = gathers_once(model, layout, method)
    passes = layout.accumulation if sharded and not once else 1
    gathers = 2 * passes if sharded and not once else 1
    reductions = layout.accumulation if layout.sharding == "zero2" else passes
    for parameters, group in ((held.dense, layout.shard_ranks), (held.experts, layout.expert_copies)):
        if parameters:
            weight = gradient if layout.sharding == "ddp" else gathered_weight_bytes(method)
            yield "all_gather", weight * parameters, group, gathers
            yield "reduce_scatter", gradient * parameters, group, reductions
    yield "all_reduce", gradient * held.shard(layout), layout.copy_ranks, 1


def _to_next_stage(model: Architecture, layout: Layout) -> tuple[float, float]:
    """Return the bytes of hidden states and gradients to a GPU of the same NVLink domain, and to one of another."""
    if layout.pipeline == 1:
        return 0.0, 0.0
    tokens = layout.micro_batch * layout.sequence_length / layout.context
    size = HIDDEN_BYTES * tokens * model.hidden / layout.tensor * layout.accumulation * layout.virtual_stages
    far = layout.stage_stride >= layout.nvlink_domain
    return (0.0, 2 * size) if far else (2 * size, 0.0)
