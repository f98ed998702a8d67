"""Seconds of a step, taken apart: what each GPU computes, what it waits for, and what nobody can hide.

An additive roofline per layer (matrix products at the best measured rate, plus the traffic of their operands), and the
collectives of the layout on the cluster's links. Constants marked [fit] were fitted to published runs; the rest are
published figures.
"""

from dataclasses import dataclass

from accelerate_sim.catalog import Architecture, GpuSpec
from accelerate_sim.sim.layout import Layout
from accelerate_sim.sim.memory import active_ffn, parameters_per_rank, stage_layers
from accelerate_sim.sim.network import Network

MATMUL_SHARE = {"Hopper": 0.9, "Blackwell": 0.78}
"""Of the best measured GEMM rate, what the shapes of a transformer reach [fit]."""
OPERAND_PASSES = 1.3
"""Times that the operands of a GEMM cross the memory bus [fit]."""
ATTENTION_SHARE = {2017: 0.25, 2020: 0.47, 2022: 0.38, 2024: 0.41}
"""Of the peak, what flash attention reaches, by the year of the GPU [fit]."""
ELEMENTWISE_PASSES = 34
"""Memory passes over the hidden state per layer, forward and backward, with fused kernels [fit]."""
ROUTING_PASSES = 17
"""Memory passes over the routed tokens per layer, forward and backward: permuting them and back [fit]."""
ROUTING_HOST_S = 0.8e-3
"""Host time per layer forward to count and sort tokens; the GPU waits for it [fit]."""
LAUNCH_S = 0.5e-3
"""Host time to launch a layer's forward kernels [fit]; a layer cannot be faster."""
FP8_SPEEDUP = 1.75
"""fp8 GEMMs over bf16 ones, casts included [fit]."""
TENSOR_EXPOSED, CONTEXT_EXPOSED, EXPERT_EXPOSED, CONTENTION = 0.3, 0.5, 0.8, 0.3
"""Shares of the communication that computing does not hide [fit]."""
EXPERT_HALF_WIDTH = 650
"""FFN width of an expert at which its GEMMs run at half speed [fit]."""
JITTER_PER_DOUBLING = 0.004
"""What waiting for the slowest of n ranks costs, per doubling above 8 [fit]."""
STEP_OVERHEAD_S = 0.010
BACKWARD_OVER_FORWARD = 2.0
ATTENTION_BACKWARD_OVER_FORWARD = 2.5


@dataclass(frozen=True)
class StepParts:
    """Where the seconds of one optimizer step go. Their sum is the step."""

    matmul: float
    attention: float
    elementwise: float
    recompute: float
    tensor_comm: float
    context_comm: float
    expert_comm: float
    pipeline_bubble: float
    data_comm: float
    optimizer: float
    other: float

    @property
    def total(self) -> float:
        return sum(self.parts().values())

    @property
    def computing(self) -> float:
        """Seconds in which the tensor cores are at work."""
        return self.matmul + self.attention + self.recompute

    def parts(self) -> dict[str, float]:
        return dict(vars(self))


@dataclass(frozen=True)
class LayerTimes:
    """Seconds of one layer for one micro-batch, forward only."""

    matmul: float
    attention: float
    elementwise: float
    tensor_comm: float
    context_comm: float
    expert_comm: float
    stall: float

    @property
    def total(self) -> float:
        return float(sum(vars(self).values()))


class Throughput:
    """Predicts step, validation and collective times for one model on one cluster. Pure; built once per run."""

    def __init__(
        self, model: Architecture, gpu: GpuSpec, layout: Layout, network: Network, precision: str, recompute: str
    ):
        self.model, self.gpu, self.layout, self.network = model, gpu, layout, network
        self.recompute = recompute
        self.matmul_flops = gpu.matmul_flops * MATMUL_SHARE.get(_generation(gpu), 0.9)
        if precision == "fp8" and gpu.fp8_flops:
            self.matmul_flops *= FP8_SPEEDUP
        self.tokens = layout.micro_batch * layout.sequence_length / layout.context

    def matmul_s(self, rows: float, inner: float, columns: float, rate: float = 1.0) -> float:
        """One matrix product [rows, inner] x [inner, columns]: arithmetic plus operand traffic."""
        operands = rows * inner + inner * columns + rows * columns
        traffic = OPERAND_PASSES * 2 * operands / self.gpu.memory_bytes_per_s
        return float(2 * rows * inner * columns / (self.matmul_flops * rate) + traffic)

    def layer(self) -> LayerTimes:
        model, layout = self.model, self.layout
        tokens, shards = self.tokens, layout.tensor
        width = (model.heads + 2 * model.kv_heads) * model.head_dim
        matmul = self.matmul_s(tokens, model.hidden, width / shards)
        matmul += self.matmul_s(tokens, model.heads * model.head_dim / shards, model.hidden)
        matmul += self._mlp_s()
        attention = 2 * self._attention_flops() / (_attention_share(self.gpu) * self.gpu.bf16_flops)
        passes = ELEMENTWISE_PASSES * 2 * tokens * model.hidden / shards + 12 * tokens * active_ffn(model) / shards
        routing_s = 0.0
        if model.moe:
            passes += ROUTING_PASSES * 2 * tokens * model.moe.active_experts * model.hidden / shards
            routing_s = ROUTING_HOST_S * model.moe_layers / model.layers
        elementwise = passes / 3 / self.gpu.memory_bytes_per_s
        busy = matmul + attention + elementwise
        hidden_bytes = 2 * tokens * model.hidden
        tensor_comm = 2 * self.network.seconds("all_reduce", hidden_bytes, layout.tensor_group) * TENSOR_EXPOSED
        return LayerTimes(
            matmul,
            attention,
            elementwise,
            tensor_comm,
            self._context_s(),
            self._expert_s(),
            max(0.0, LAUNCH_S - busy) + routing_s,
        )

    def _attention_flops(self) -> float:
        # Causal: half of the score matrix, in scores and in their product with the values.
        model, layout = self.model, self.layout
        pairs = self.tokens * layout.sequence_length / 2
        return 2 * pairs * model.heads * model.head_dim / layout.tensor

    def _mlp_s(self) -> float:
        model, shards = self.model, self.layout.tensor
        up = 2 if model.gated_mlp else 1

        def mlp(tokens: float, ffn: float, rate: float = 1.0) -> float:
            return self.matmul_s(tokens, model.hidden, up * ffn, rate) + self.matmul_s(tokens, ffn, model.hidden, rate)

        if model.moe is None:
            return mlp(self.tokens, model.ffn / shards)
        moe = model.moe
        routed = mlp(self.tokens / shards * moe.active_experts, moe.ffn, moe.ffn / (moe.ffn + EXPERT_HALF_WIDTH))
        shared = mlp(self.tokens, moe.shared_experts * moe.ffn / shards) if moe.shared_experts else 0.0
        dense_share = moe.dense_layers / model.layers
        dense = mlp(self.tokens, model.ffn / shards) * dense_share if moe.dense_layers else 0.0
        return (routed + shared) * (1 - dense_share) + dense

    def _context_s(self) -> float:
        layout, model = self.layout, self.model
        if layout.context == 1:
            return 0.0
        keys_and_values = 4 * self.tokens * model.kv_heads * model.head_dim / layout.tensor
        size = keys_and_values * layout.context
        return self.network.seconds("all_gather", size, layout.context_group) * CONTEXT_EXPOSED

    def _expert_s(self) -> float:
        layout, model = self.layout, self.model
        if model.moe is None or layout.expert == 1:
            return 0.0
        size = 2 * self.tokens / layout.tensor * model.moe.active_experts * model.hidden
        return 2 * self.network.seconds("all_to_all", size, layout.expert_group) * EXPERT_EXPOSED

    def head_s(self) -> float:
        """Output head and loss of one micro-batch, forward and backward."""
        shard = self.model.vocab / self.layout.tensor
        return (
            3 * self.matmul_s(self.tokens, self.model.hidden, shard)
            + 24 * self.tokens * shard / self.gpu.memory_bytes_per_s
        )

    def step(self) -> StepParts:
        """The mean step."""
        layer, layout = self.layer(), self.layout
        layers, micro_batches = stage_layers(self.model, layout), layout.accumulation
        back = 1 + BACKWARD_OVER_FORWARD
        attention_back = 1 + ATTENTION_BACKWARD_OVER_FORWARD
        again = {"none": 0.0, "selective": layer.attention, "full": 0.9 * layer.total}[self.recompute]
        # The head runs on the last stage only; when the layers are spread, it delays everyone like a longer stage.
        matmul = layers * layer.matmul * back + self.head_s()
        per_micro = {
            "matmul": matmul,
            "attention": layers * layer.attention * attention_back,
            "elementwise": layers * layer.elementwise * back,
            "recompute": layers * again,
            "tensor_comm": layers * layer.tensor_comm * 2,
            "context_comm": layers * layer.context_comm * back,
            "expert_comm": layers * layer.expert_comm * 2,
        }
        stage_s = sum(per_micro.values()) + layers * layer.stall * back
        slots = {name: seconds * micro_batches for name, seconds in per_micro.items()}
        bubble = (layout.pipeline - 1) / layout.virtual_stages * stage_s
        data_comm = self._data_comm_s(stage_s)
        held = parameters_per_rank(self.model, layout)
        owned = held.total if layout.sharding == "ddp" else held.shard(layout)
        optimizer = 30 * owned / self.gpu.memory_bytes_per_s
        other = STEP_OVERHEAD_S + layers * layer.stall * back * micro_batches
        known = sum(slots.values()) + bubble + data_comm + optimizer + other
        other += known * JITTER_PER_DOUBLING * max(0, (layout.world_size - 1).bit_length() - 3)
        return StepParts(**slots, pipeline_bubble=bubble, data_comm=data_comm, optimizer=optimizer, other=other)

    def _data_comm_s(self, stage_s: float) -> float:
        """What is left to wait for of gathering weights and reducing gradients over the replicas."""
        layout, group = self.layout, self.layout.data_group
        held = parameters_per_rank(self.model, layout).total
        gather = self.network.seconds("all_gather", 2 * held, group)
        if layout.sharding in ("fsdp", "zero3") and layout.pipeline == 1:
            # Per micro-batch: weights gathered for forward and for backward, gradients reduced to their owner.
            comm = 2 * gather + self.network.seconds("reduce_scatter", 2 * held, group)
            return layout.accumulation * _exposed(comm, stage_s)
        reduce = self.network.seconds("reduce_scatter", 4 * held, group)
        if layout.sharding == "ddp":
            return _exposed(self.network.seconds("all_reduce", 4 * held, group), 2 * stage_s / 3)
        if layout.sharding == "zero2":
            return layout.accumulation * _exposed(reduce, 2 * stage_s / 3) + _exposed(gather, stage_s / 3)
        return _exposed(reduce, 2 * stage_s / 3) + _exposed(gather, stage_s / 3)

    def evaluation_batch_s(self) -> float:
        """One micro-batch of validation on every replica: forward only."""
        layer, layout = self.layer(), self.layout
        forward = stage_layers(self.model, layout) * layer.total + self.head_s() / 3
        pipeline = forward * layout.pipeline
        gather = 0.0
        if layout.sharding in ("fsdp", "zero3"):
            held = parameters_per_rank(self.model, layout).total
            gather = self.network.seconds("all_gather", 2 * held, layout.data_group)
        return pipeline + _exposed(gather, pipeline) + 2e-3


def _exposed(comm_s: float, compute_s: float) -> float:
    """What overlapped communication costs: what sticks out, and the contention of what does not."""
    return max(0.0, comm_s - compute_s) + CONTENTION * min(comm_s, compute_s)


def _generation(gpu: GpuSpec) -> str:
    return "Blackwell" if gpu.year >= 2024 and gpu.vendor == "NVIDIA" and gpu.bf16_flops > 2e15 else "Hopper"


def _attention_share(gpu: GpuSpec) -> float:
    return next(
        share for year, share in sorted(ATTENTION_SHARE.items(), reverse=True) if gpu.year >= year or year == 2017
    )
