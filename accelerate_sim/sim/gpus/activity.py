"""The use of a GPU's tensor cores, memory and links in a step or a validation, from which its power follows.

The work that is computed and moved counts, not the time for which a kernel is resident: a slow kernel does less per
second.
"""

from dataclasses import dataclass

from accelerate_sim.catalog import GpuSpec
from accelerate_sim.sim.memory.memory import parameters_per_layer
from accelerate_sim.sim.speed.step_parts import StepParts
from accelerate_sim.sim.speed.throughput import (
    ATTENTION_BACKWARD_OVER_FORWARD,
    BACKWARD_OVER_FORWARD,
    Throughput,
)

CONTEXT_W = 50.0
"""Watts over idle with a resident context and raised clocks (117 W on an H100 that idles at 67)."""
RESIDENT_SHARE = 0.10
TENSOR_SHARE = 1.18
MEMORY_SHARE = 0.38
LINK_SHARE = 0.05
"""Weights of resident kernels, tensor cores, memory and links in the power between a resident context and the limit.

With them an H100 draws 180 W while it polls for its peers, about 400 W while it only moves memory, and 560 to 670 of
its 700 W in well-tuned training (three quarters of a node's rated 10.2 kW: Latif et al. 2024). A large matrix product
by itself would draw more than the limit, which is why its best measured rate is below the peak."""
HIGHEST_SHARE = 1.05
"""Largest power demand of work, over the same range; above 1 the limit lowers the clock."""
WELL_TUNED_SHARE = 0.85
VALIDATION_OVER_STEP = 0.92
"""Power of steps whose time is imposed, over the same range, and the factor on it in validations."""
ELEMENT_BYTES = 2


def drawn_w(gpu: GpuSpec, power_share: float) -> float:
    """Power demand of a mean chip, in watts, at ``power_share`` of the range from a resident context to its limit."""
    base_w = gpu.idle_w + CONTEXT_W
    return base_w + (gpu.power_limit_w - base_w) * power_share


@dataclass(frozen=True)
class MicroBatchWork:
    """The work of a mean GPU for a micro-batch."""

    bf16_flops: float
    """FLOPs in bf16: head and attention, and all others without fp8."""
    fp8_flops: float
    memory_bytes: float

    def times(self, count: float) -> "MicroBatchWork":
        return MicroBatchWork(count * self.bf16_flops, count * self.fp8_flops, count * self.memory_bytes)


@dataclass(frozen=True)
class Activity:
    """Mean shares over a step or a validation."""

    tensor: float
    """FLOP/s over those of the best matrix product, each precision by its own."""
    tensor_pipes: float
    """FLOP/s over the peak, each precision by its own: the share of cycles in which tensor cores work."""
    memory: float
    """Bytes/s of memory traffic over the memory bandwidth."""
    links: float
    """Share of the time in which a collective is waited for."""
    resident: float
    """Share of the time in which any kernel is resident, waiting ones included."""

    @property
    def power_share(self) -> float:
        """Power from 0 (a resident context) to 1 (the power limit)."""
        wanted = RESIDENT_SHARE * self.resident + TENSOR_SHARE * self.tensor
        return min(wanted + MEMORY_SHARE * self.memory + LINK_SHARE * self.links, HIGHEST_SHARE)

    @classmethod
    def of_step(cls, throughput: Throughput, micro_batches: int, parts: StepParts) -> "Activity":
        """Activity in a step with this many micro-batches, whose time is ``parts``."""
        work = training_work(throughput).times(micro_batches)
        total = parts.total
        waiting = parts.tensor_comm + parts.data_comm + parts.expert_comm + parts.context_comm + parts.pipeline_comm
        return cls._of(throughput, work, total, parts.optimizer / total, waiting / total, parts.launch + parts.other)

    @classmethod
    def of_validation(cls, throughput: Throughput, batch_s: float) -> "Activity":
        """Activity in a validation whose micro-batches take ``batch_s`` each, one stage after the other."""
        return cls._of(throughput, work_of_passes(throughput, 1.0, 1.0), batch_s, 0.0, 0.0, 0.0)

    @classmethod
    def _of(
        cls, throughput: Throughput, work: MicroBatchWork, total_s: float, memory: float, links: float, absent_s: float
    ) -> "Activity":
        gpu, kernels = throughput.gpu, throughput.kernels
        fp4 = gpu.fp4_flops if throughput.method.precision == "nvfp4" else None
        fp8_peak = fp4 or gpu.fp8_flops or gpu.bf16_flops
        best_fp8 = (None if fp4 else gpu.fp8_matmul_flops) or fp8_peak / gpu.bf16_flops * gpu.matmul_flops
        tensor = (work.bf16_flops / gpu.matmul_flops + work.fp8_flops / best_fp8) / total_s
        pipes = (work.bf16_flops / gpu.bf16_flops + work.fp8_flops / fp8_peak) / total_s
        memory += work.memory_bytes / kernels.bus / total_s
        return cls(min(tensor, 1.0), min(pipes, 1.0), min(memory, 1.0), links, 1.0 - absent_s / total_s)


def training_work(throughput: Throughput) -> MicroBatchWork:
    """Work of forward and backward passes, with recomputation."""
    method = throughput.method
    again = method.recompute_share
    unfused = method.stack.attention == "unfused"
    backward = BACKWARD_OVER_FORWARD if unfused else ATTENTION_BACKWARD_OVER_FORWARD
    attention_again = 1.0 if method.recomputes_attention else again
    return work_of_passes(throughput, 1 + BACKWARD_OVER_FORWARD + again, 1 + backward + attention_again)


def work_of_passes(throughput: Throughput, passes: float, attention_passes: float) -> MicroBatchWork:
    """Work in multiples of the forward pass; attention's core has its own multiple."""
    model, layout, kernels, method = throughput.model, throughput.layout, throughput.kernels, throughput.method
    ranks = layout.tensor * layout.pipeline
    tokens = kernels.tokens / ranks / 3  # the architecture counts FLOPs of all three passes
    causal = method.stack.attention != "unfused"
    products = model.flops_per_token(0)
    scores = model.flops_per_token(layout.sequence_length, causal=causal) - products
    head = 6 * model.head_parameters
    body = tokens * (products - head) * passes
    always_bf16 = tokens * (head * min(passes, 3.0) + scores * attention_passes)
    loss_bytes = kernels.k["loss_traffic"] / 3 * kernels.tokens * model.vocab / ranks
    moved = (model.layers / layout.pipeline * _layer_bytes(throughput) + loss_bytes) * passes
    return (
        MicroBatchWork(always_bf16, body, moved) if method.is_narrow else MicroBatchWork(always_bf16 + body, 0.0, moved)
    )


def _layer_bytes(throughput: Throughput) -> float:
    """Bytes read and written in a layer's forward pass, by elementwise kernels and for operands of products."""
    model, layout, kernels = throughput.model, throughput.layout, throughput.kernels
    heads = (2 * model.heads + 2 * model.kv_heads) * model.head_dim
    widths = 4 * model.hidden + (heads + (3 if model.gated_mlp else 2) * kernels.mean_width()) / layout.tensor
    weights = parameters_per_layer(model, layout).total
    moved = ELEMENT_BYTES * kernels.k["gemm_traffic"] * (weights + kernels.tokens * widths)
    if throughput.method.is_narrow:  # both operands are read once more to be converted
        moved += ELEMENT_BYTES * kernels.k["gemm_cast"] * (weights + kernels.tokens * widths / 2)
    if throughput.method.stack.attention == "unfused":  # scores, softmax and mask go to memory and back
        scores = kernels.tokens * layout.sequence_length * model.heads / layout.tensor
        moved += ELEMENT_BYTES * kernels.k["attention_old_passes"] / 3 * scores
    return kernels.elementwise_s() * kernels.bus + moved
