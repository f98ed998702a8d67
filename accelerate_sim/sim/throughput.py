"""Seconds of a step, taken apart: what each GPU computes, what it waits for, and what nobody can hide.

Kernel times come from ``kernels.py``, collectives from ``network.py``; here they are put together into pipeline slots,
overlap is taken off, and the step is summed up. Constants are in ``catalog/constants.json``.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from accelerate_sim import catalog
from accelerate_sim.catalog import Architecture, GpuSpec
from accelerate_sim.sim.kernels import Kernels
from accelerate_sim.sim.layout import Group, Layout
from accelerate_sim.sim.memory import gathered_weight_bytes, parameters_per_rank, reduced_gradient_bytes, stage_layers
from accelerate_sim.sim.method import Method
from accelerate_sim.sim.network import Network

BACKWARD_OVER_FORWARD = 2.0
ATTENTION_BACKWARD_OVER_FORWARD = 2.5
"""Flash kernels compute the scores again."""
OPTIMIZER_TRAFFIC_BYTES = 30
"""Of a parameter: read gradient, master weight and both moments, write the last three and the weight."""


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
    pipeline_comm: float
    pipeline_bubble: float
    data_comm: float
    optimizer: float
    launch: float
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
    """The GPU waits for the host: kernels shorter than their launches, tokens to be counted."""

    @property
    def total(self) -> float:
        return float(sum(vars(self).values()))


class Throughput:
    """Predicts step, validation and collective times for one model on one cluster. Pure; built once per run."""

    def __init__(
        self, model: Architecture, gpu: GpuSpec, layout: Layout, network: Network, method: Method,
        constants: Mapping[str, float] | None = None,
    ) -> None:  # fmt: skip
        self.model, self.gpu, self.layout, self.network, self.method = model, gpu, layout, network, method
        self.k = catalog.constants() if constants is None else constants
        self.kernels = Kernels(model, gpu, layout, method, self.k)
        self.tokens = self.kernels.tokens
        self.startup_s = self.k[f"collective_startup_s.{'old' if method.stack.overlap == 'serial' else 'new'}"]

    # --- One layer ------------------------------------------------------------------------------

    def layer(self) -> LayerTimes:
        """Forward, in the mean over layers."""
        model, kernels = self.model, self.kernels
        matmul = kernels.projections_s()
        if model.dense_layers:
            matmul += kernels.mlp_s() * model.dense_layers / model.layers
        if model.moe:
            matmul += kernels.experts_s() * model.moe_layers / model.layers
        attention, elementwise = kernels.attention_s(), kernels.elementwise_s()
        communication = self._tensor_s(), self._context_s(), self._expert_s()
        busy = matmul + attention + elementwise + sum(communication)
        stall = max(0.0, kernels.launch_s() - busy) + kernels.waiting_s()
        return LayerTimes(matmul, attention, elementwise, *communication, stall)

    def _tensor_s(self) -> float:
        """What is waited for of the two reductions of hidden states."""
        if self.layout.tensor == 1:
            return 0.0
        size = 2 * self.tokens * self.model.hidden
        one = self.network.seconds("all_reduce", size, self.layout.tensor_group) + self.startup_s
        # What hides it behind matrix products writes into the peers' memory, which takes NVLink.
        apart = self.layout.tensor_group.num_domains > 1 and self.method.exposes_tensor == "full"
        return 2 * one * self.k[f"tensor_exposed.{'none' if apart else self.method.exposes_tensor}"]

    def _context_s(self) -> float:
        layout, model = self.layout, self.model
        if layout.context == 1:
            return 0.0
        keys_and_values = 4 * self.tokens * model.kv_heads * model.head_dim / min(layout.tensor, model.kv_heads)
        size = keys_and_values * layout.context
        return self.network.seconds("all_gather", size, layout.context_group) * self.k["context_exposed"]

    def _expert_s(self) -> float:
        """Tokens to their experts, and back."""
        layout, model = self.layout, self.model
        if model.moe is None or layout.expert == 1:
            return 0.0
        group, visits = layout.expert_group, model.moe.active_experts
        # Where a dispatcher is made for it, tokens go out in fp8 and come back in bf16.
        narrow = self.method.is_fp8 and self.method.stack.sends_tokens_once
        each = (1.5 if narrow else 2.0) * self.tokens / layout.tensor * model.hidden
        one = self.network.seconds("all_to_all", each * visits, group)
        if self.method.stack.sends_tokens_once and group.num_domains > 1:
            # Of the other domains, those that hold one of the token's experts; from there it goes on over NVLink.
            domains = group.num_domains
            others = (domains - 1) * (1 - (1 - 1 / domains) ** visits)
            across = self.network.seconds("all_to_all", each * others * domains / (domains - 1), group)
            inside = self.network.seconds("all_to_all", each * visits, Group(group.per_domain, group.per_domain))
            one = min(one, max(across, inside))
        return 2 * one * self.k["expert_exposed"] * model.moe_layers / model.layers

    # --- The step -------------------------------------------------------------------------------

    def step(self) -> StepParts:
        """The mean step."""
        layer, layout, k = self.layer(), self.layout, self.k
        layers, micro_batches = stage_layers(self.model, layout), layout.accumulation
        mean_layers = self.model.layers / layout.pipeline
        back = 1 + BACKWARD_OVER_FORWARD
        again = self.method.recompute_share * layer.total
        if self.method.recomputes_attention:
            again = min(layer.total, again + layer.attention)
        again *= k["recompute_cost"]
        slot = {
            "matmul": layer.matmul * back,
            "attention": layer.attention * (1 + self._attention_backward()),
            "elementwise": layer.elementwise * back,
            "recompute": again,
            "tensor_comm": layer.tensor_comm * 2,
            "context_comm": layer.context_comm * back,
            "expert_comm": layer.expert_comm * 2,
            "launch": layer.stall * back,
        }
        layer_s = sum(slot.values())
        head_s = self.kernels.head_s()
        # The last stage has the head as well; where layers do not divide evenly, it has fewer of them.
        last = max(0, self.model.layers - layers * (layout.pipeline - 1)) if layers > mean_layers else layers
        slowest_s = max(layers * layer_s, last * layer_s + head_s)
        parts = {name: seconds * layers * micro_batches for name, seconds in slot.items()}
        parts["matmul"] += (slowest_s - layers * layer_s) * micro_batches
        hop_s = self._pipeline_hop_s()
        passing = 2 * hop_s * (micro_batches * layout.virtual_stages if layout.pipeline > 1 else 0)
        stage_s = mean_layers * layer_s + head_s / layout.pipeline
        bubble = (layout.pipeline - 1) * (stage_s / layout.virtual_stages + 2 * hop_s)
        parts |= {
            "pipeline_comm": self._pipeline_sync_s() * (micro_batches + layout.pipeline - 1)
            + passing * k[f"pipeline_exposed.{self.method.stack.overlap}"],
            "pipeline_bubble": bubble,
            "data_comm": self._data_comm_s(slowest_s) + self._tied_head_s(),
            "optimizer": self._optimizer_s(),
        }
        other = k["step_overhead_s"]
        doublings = max(0.0, (layout.world_size - 1).bit_length() - 3)
        known = sum(parts.values()) + other
        other += known * k[f"jitter.{self.method.stack.cluster}"] * doublings
        slower = k.get(f"stack.{self.method.stack.name}", 1.0)
        return StepParts(**{name: seconds * slower for name, seconds in parts.items()}, other=other * slower)

    def _attention_backward(self) -> float:
        return BACKWARD_OVER_FORWARD if self.method.stack.attention == "unfused" else ATTENTION_BACKWARD_OVER_FORWARD

    def _pipeline_hop_s(self) -> float:
        """Hidden states of a micro-batch from one stage to the next."""
        layout = self.layout
        if layout.pipeline == 1:
            return 0.0
        size = 2 * self.tokens * self.model.hidden / layout.tensor
        return self.network.neighbour_s(size, far=self._stages_are_apart())

    def _pipeline_sync_s(self) -> float:
        """Host and GPU waiting for each other around the two exchanges of a micro-batch, where these block."""
        if self.layout.pipeline == 1 or self.method.stack.overlap != "serial":
            return 0.0
        return 2 * self.k["pipeline_sync_s"]

    def _optimizer_s(self) -> float:
        layout = self.layout
        held = parameters_per_rank(self.model, layout)
        owned = held.total if layout.sharding == "ddp" else held.shard(layout)
        return OPTIMIZER_TRAFFIC_BYTES * owned / self.gpu.memory_bytes_per_s

    def _data_comm_s(self, stage_s: float) -> float:
        """What is left to wait for of gathering weights and reducing gradients over the replicas."""
        layout = self.layout
        held = parameters_per_rank(self.model, layout)
        weight, gradient = gathered_weight_bytes(self.method), reduced_gradient_bytes(layout, self.method)
        forward, backward = stage_s / 3, 2 * stage_s / 3
        # Of interleaved stages all but one are done with the last micro-batch before their rank is.
        behind = self._stages_behind()
        forward, backward = forward * behind, backward * behind
        if layout.sharding in ("fsdp", "zero3"):
            gather = self._over_replicas("all_gather", weight * held.dense, weight * held.experts)
            reduce = self._over_replicas("reduce_scatter", gradient * held.dense, gradient * held.experts)
            if layout.pipeline > 1:  # gathered once for all micro-batches of a step
                return self._exposed(gather, forward) + self._exposed(gather + reduce, backward)
            latency = (
                self.k["sharded_startup_s"] * self.layout.shard_ranks.num_domains * stage_layers(self.model, layout)
            )
            once = self._copies_s(gradient * held.shard(layout))
            if self.method.stack.overlap == "serial":
                latency += self.k["sharded_old_slowness"] * (2 * gather + reduce)
            each = self._exposed(gather, forward) + latency
            hidden = (layout.accumulation - 1) * self._exposed(gather + reduce, backward)
            return layout.accumulation * each + hidden + self._exposed(gather + reduce + once, backward)
        reductions = layout.accumulation if layout.sharding == "zero2" else 1
        gathered = gradient if layout.sharding == "ddp" else weight
        experts = self._copied_experts_s(gathered * held.experts, gradient * held.experts, reductions)
        gather = self._over_replicas("all_gather", gathered * held.dense)
        reduce = self._over_replicas("reduce_scatter", gradient * held.dense)
        if layout.sharding == "ddp":
            return experts + self._exposed(reduce + gather, backward)
        if layout.sharding == "zero2":
            return experts + reductions * self._exposed(reduce, backward) + self._exposed(gather, forward)
        copies = self._copies_s(gradient * held.shard(layout))
        return experts + self._exposed(reduce + copies, backward) + self._exposed(gather, forward)

    def _copied_experts_s(self, gathered_bytes: float, reduced_bytes: float, reductions: int) -> float:
        """What is waited for of the weights and gradients of experts, over the ranks that hold the same ones."""
        copies = self.layout.expert_copies
        gather = self.network.seconds("all_gather", gathered_bytes, copies)
        every = gather + reductions * self.network.seconds("reduce_scatter", reduced_bytes, copies)
        if self.method.stack.overlap in ("serial", "none"):
            return self._exposed(every, 0.0)
        return self.k["expert_data_exposed"] * every

    def _tied_head_s(self) -> float:
        """Adding up the gradients of an embedding that the last pipeline stage uses as its head: after all others."""
        layout, model = self.layout, self.model
        if layout.pipeline == 1 or not model.tied_embeddings:
            return 0.0
        size = reduced_gradient_bytes(layout, self.method) * model.embedding_parameters / layout.tensor
        ends = Group(2, per_domain=1 if self._stages_are_apart() else 2)
        return self.network.seconds("all_reduce", size, ends)

    def _stages_are_apart(self) -> bool:
        """Neighbouring stages are in different NVLink domains."""
        return self.layout.world_size // self.layout.pipeline >= self.layout.nvlink_domain

    def _stages_behind(self) -> float:
        """Passes through a rank's layers that are still to come, or are over, when the first of its weights are done.

        One, unless stages are interleaved: then a stage has its last micro-batches, as many as there are ranks in the
        pipeline, while the rank's other stages still wait for theirs (Narayanan et al. 2021, figure 4).
        """
        layout = self.layout
        if layout.virtual_stages == 1:
            return 1.0
        own = 1 / layout.virtual_stages
        return own + min(layout.pipeline, layout.accumulation) * (1 - own)

    def _over_replicas(self, collective: str, dense_bytes: float, expert_bytes: float = 0.0) -> float:
        layout = self.layout
        seconds = self.network.seconds(collective, dense_bytes, layout.shard_ranks)
        if collective == "all_gather" and self.method.stack.gathers_by_broadcast:
            seconds += self.k["broadcast_startup_s"] * layout.shards
        if expert_bytes:
            seconds += self.network.seconds(collective, expert_bytes, layout.expert_copies)
        return seconds

    def _copies_s(self, shard_bytes: float) -> float:
        """Gradients of a shard, reduced over the groups that hold copies of it."""
        return self.network.seconds("all_reduce", shard_bytes, self.layout.copy_ranks)

    def _exposed(self, comm_s: float, compute_s: float) -> float:
        """What overlapped communication costs: what sticks out, and the contention of what does not."""
        if self.method.stack.overlap == "serial":
            return self.k["data_exposed.serial"] * comm_s
        if self.method.stack.overlap == "none":
            return comm_s
        return max(0.0, comm_s - compute_s) + self.k["data_contention"] * min(comm_s, compute_s)

    def evaluation_batch_s(self) -> float:
        """One micro-batch of validation on every replica: forward only."""
        layer, layout = self.layer(), self.layout
        forward = stage_layers(self.model, layout) * layer.total + self.kernels.head_s() / 3
        pipeline = forward * layout.pipeline
        gather = 0.0
        if layout.sharding in ("fsdp", "zero3"):
            held = parameters_per_rank(self.model, layout)
            weight = gathered_weight_bytes(self.method)
            gather = self._over_replicas("all_gather", weight * held.dense, weight * held.experts)
        return pipeline + self._exposed(gather, pipeline) + 2e-3
