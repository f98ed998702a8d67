"""Seconds of a step, taken apart into computing, exposed communication and overheads.

Kernel times come from ``kernels.py``, collectives from ``network.py``, what replicas exchange from ``replicas.py``;
they are put together into pipeline slots here, and the step is summed up. Constants are in ``catalog/constants.json``.
"""

from collections.abc import Mapping
from functools import cached_property

from accelerate_sim import catalog
from accelerate_sim.catalog import Architecture, GpuSpec
from accelerate_sim.sim.layout import Group, Layout
from accelerate_sim.sim.memory.memory import parameters_per_rank, reduced_gradient_bytes, stage_layers
from accelerate_sim.sim.memory.optimizer_state import optimizer_flops, optimizer_traffic_bytes
from accelerate_sim.sim.method import Method
from accelerate_sim.sim.speed.balanced_stages import balanced_layers
from accelerate_sim.sim.speed.kernels import Kernels
from accelerate_sim.sim.speed.network import Network
from accelerate_sim.sim.speed.replicas import Replicas
from accelerate_sim.sim.speed.step_parts import LayerTimes, StepParts

BACKWARD_OVER_FORWARD = 2.0
ATTENTION_BACKWARD_OVER_FORWARD = 2.5
"""Work of attention's backward pass over the forward pass: flash kernels compute the scores again, so five products
against two (Dao 2023)."""


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
        self.replicas = Replicas(model, layout, network, method, self.k)
        self.startup_s = self.k[f"collective_startup_s.{'old' if method.stack.overlap == 'serial' else 'new'}"]

    # --- One layer ------------------------------------------------------------------------------

    def layer(self) -> LayerTimes:
        """Return the forward times, in the mean over layers."""
        return self._forward

    @cached_property
    def _forward(self) -> LayerTimes:
        model, kernels = self.model, self.kernels
        with_attention = model.attention_layers / model.layers
        matmul = kernels.projections_s() * with_attention
        if model.mamba_layers:
            matmul += kernels.mamba_s() * model.mamba_layers / model.layers
        if model.dense_layers:
            matmul += kernels.mlp_s() * model.dense_layers / model.layers
        if model.moe:
            matmul += kernels.experts_s() * model.moe_layers / model.layers
        busy = (
            matmul, kernels.attention_s() * with_attention, kernels.elementwise_s(),
            self._tensor_s(), self._context_s(), self._expert_s(),
        )  # fmt: skip
        return LayerTimes(*busy, self._stall_s(sum(busy), 1.0))

    def backward_layer(self) -> LayerTimes:
        """Return the backward times: hidden states and tokens are exchanged once again, keys and values twice."""
        forward = self.layer()
        busy = (
            forward.matmul * BACKWARD_OVER_FORWARD + self.kernels.gradients_s(),
            forward.attention * self._attention_backward(), forward.elementwise * BACKWARD_OVER_FORWARD,
            forward.tensor_comm, forward.context_comm * BACKWARD_OVER_FORWARD, forward.expert_comm,
        )  # fmt: skip
        return LayerTimes(*busy, self._stall_s(sum(busy), BACKWARD_OVER_FORWARD))

    def _stall_s(self, busy_s: float, over_forward: float) -> float:
        """Return the wait for the host in one direction, with ``over_forward`` times the launches of the forward pass.

        The floor is of a direction with its own communication: what a faster link saves, the floor gives back at most.
        Where both are about as long, some kernels wait for their launch and others have theirs waiting, so the edge
        between the two is round.
        """
        floor_s, waiting_s = self.kernels.launch_s() * over_forward, self.kernels.waiting_s() * over_forward
        sharpness = self.k["launch_sharpness"]
        longer, shorter = max(floor_s, busy_s), min(floor_s, busy_s)
        either_s = longer * float((1 + (shorter / longer) ** sharpness) ** (1 / sharpness))
        return either_s - busy_s + waiting_s

    def _tensor_s(self) -> float:
        """Return the exposed seconds of the reductions of hidden states, one after each block."""
        if self.layout.tensor == 1:
            return 0.0
        size = 2 * self.tokens * self.model.hidden
        one = self.network.seconds("all_reduce", size, self.layout.tensor_group) + self.startup_s
        # What hides it behind matrix products writes into the peers' memory, which takes NVLink.
        apart = self.layout.tensor_group.num_domains > 1 and self.method.exposes_tensor == "full"
        return (
            self.model.blocks_per_layer
            * one
            * self.k[f"tensor_exposed.{'none' if apart else self.method.exposes_tensor}"]
        )

    def _context_s(self) -> float:
        layout, model = self.layout, self.model
        if layout.context == 1:
            return 0.0
        keys_and_values = 4 * self.tokens * model.kv_heads * model.head_dim / min(layout.tensor, model.kv_heads)
        size = keys_and_values * layout.context
        seconds = self.network.seconds("all_gather", size, layout.context_group) * self.k["context_exposed"]
        return seconds * model.attention_layers / model.layers

    def _expert_s(self) -> float:
        """Return the exposed seconds of tokens on their way to their experts and back."""
        layout, model = self.layout, self.model
        if model.moe is None or layout.expert == 1:
            return 0.0
        group, visits = layout.expert_group, model.moe.active_experts
        # Where a dispatcher is made for it, tokens go out in fp8 and come back in bf16.
        narrow = self.method.is_narrow and self.method.sends_tokens_once
        each = (1.5 if narrow else 2.0) * self.tokens / layout.tensor * model.hidden
        one = self.network.seconds("all_to_all", each * visits, group)
        if self.method.sends_tokens_once:
            one = min(one, self._sent_once_s(each, visits))
        exposed = self.k["expert_exposed"] * (self.k["expert_overlapped"] if self.method.overlaps_experts else 1.0)
        return 2 * one * exposed * model.moe_layers / model.layers

    def _sent_once_s(self, each_bytes: float, visits: int) -> float:
        """Return the seconds of an all-to-all that sends a token once to each GPU, and once to each NVLink domain."""
        group = self.layout.expert_group
        ranks, domains = group.per_domain, group.num_domains
        # A token's experts on one GPU share its copy; from the GPU that it reaches in a domain, it goes on over NVLink.
        here = domains * ranks * (1 - (1 - 1 / (domains * ranks)) ** visits) / domains * min(domains, visits)
        inside = self.network.seconds("all_to_all", each_bytes * min(visits, here), Group(ranks, ranks))
        if domains == 1:
            return inside
        others = (domains - 1) * (1 - (1 - 1 / domains) ** visits)
        return max(self.network.dispatched_s(each_bytes * others), inside)

    # --- The step -------------------------------------------------------------------------------

    def step(self) -> StepParts:
        """Return the mean step."""
        layer, backward, layout, k = self.layer(), self.backward_layer(), self.layout, self.k
        mean_layers = self.model.layers / layout.pipeline
        layers = mean_layers if self.method.stack.balances_stages else stage_layers(self.model, layout)
        micro_batches = layout.accumulation
        slot = {name: seconds + backward.parts()[name] for name, seconds in layer.parts().items()}
        slot |= {"launch": slot.pop("stall"), "recompute": self._again_s()}
        layer_s = sum(slot.values())
        head_s = self.kernels.head_s()
        slowest_s = max(self._stages_s(layer_s))
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
            "data_comm": self.replicas.waiting_s(slowest_s) + self.tied_head_s(),
            "optimizer": self._optimizer_s(),
        }
        other = k["step_overhead_s"]
        doublings = max(0.0, (layout.world_size - 1).bit_length() - 3)
        known = sum(parts.values()) + other
        other += known * k[f"jitter.{self.method.stack.cluster}"] * doublings
        # Software grows faster with its releases; the stack's own figure is of the release that the catalog gives.
        years = self.method.stack.release - self.method.release
        stack = self.method.stack
        slower = k[f"stack.{stack.name}"] * (k["community_slowness"] if stack.kind == "community" else 1.0)
        slower *= float(2 ** (years * k["doublings_per_year"]))
        return StepParts(**{name: seconds * slower for name, seconds in parts.items()}, other=other * slower)

    def stage_shares(self) -> list[float]:
        """Return the computing time of each pipeline stage, over that of the slowest one."""
        stages = self._stages_s(self.layer().total + self.backward_layer().total + self._again_s())
        return [seconds / max(stages) for seconds in stages]

    def _stages_s(self, layer_s: float) -> list[float]:
        """Return the seconds of a micro-batch in each stage. The last one has the head as well.

        Where layers do not divide evenly, the last stage has fewer of them.
        """
        layers, stages = stage_layers(self.model, self.layout), self.layout.pipeline
        if self.method.stack.balances_stages:
            seconds = [layers * layer_s for layers in balanced_layers(self.model, stages)]
            return [*seconds[:-1], seconds[-1] + self.kernels.head_s()]
        uneven = layers > self.model.layers / stages
        last = max(0, self.model.layers - layers * (stages - 1)) if uneven else layers
        return [*[layers * layer_s] * (stages - 1), last * layer_s + self.kernels.head_s()]

    def _again_s(self) -> float:
        """Return the seconds of a layer's recomputation for one micro-batch."""
        layer = self.layer()
        # Computing again stops where the backward pass has all it needs: tokens need not come back from their experts.
        again = self.method.recompute_share * (layer.total - layer.expert_comm / 2)
        if self.method.recomputes_attention:
            again = min(layer.total, again + layer.attention)
        return again * (1.0 if self.method.stack.checkpoints_whole else self.k["recompute_cost"])

    def _attention_backward(self) -> float:
        return BACKWARD_OVER_FORWARD if self.method.stack.attention == "unfused" else ATTENTION_BACKWARD_OVER_FORWARD

    def _pipeline_hop_s(self) -> float:
        """Return the seconds that hidden states of a micro-batch take from one stage to the next."""
        layout = self.layout
        if layout.pipeline == 1:
            return 0.0
        size = 2 * self.tokens * self.model.hidden / layout.tensor
        return self.network.neighbour_s(size, far=self._stages_are_apart())

    def _pipeline_sync_s(self) -> float:
        """Return the time that host and GPU wait for each other around a micro-batch's two blocking exchanges."""
        if self.layout.pipeline == 1 or self.method.stack.overlap != "serial":
            return 0.0
        return 2 * self.k["pipeline_sync_s"]

    def _optimizer_s(self) -> float:
        layout = self.layout
        held = parameters_per_rank(self.model, layout)
        owned = held.total if layout.sharding == "ddp" else held.shard(layout)
        traffic = optimizer_traffic_bytes(self.model, self.method) / self.gpu.memory_bytes_per_s
        return owned * (traffic + optimizer_flops(self.model, self.method) / self.kernels.rate_bf16)

    def tied_head_s(self) -> float:
        """Return the seconds to add up, after all others, the gradients of an embedding that is also the head."""
        layout, model = self.layout, self.model
        if layout.pipeline == 1 or not model.tied_embeddings:
            return 0.0
        size = reduced_gradient_bytes(layout, self.method) * model.embedding_parameters / layout.tensor
        ends = Group(2, per_domain=1 if self._stages_are_apart() else 2)
        return self.network.seconds("all_reduce", size, ends)

    def _stages_are_apart(self) -> bool:
        """Return True where neighbouring stages are in different NVLink domains."""
        return self.layout.world_size // self.layout.pipeline >= self.layout.nvlink_domain

    def evaluation_batch_s(self) -> float:
        """Return the seconds of one micro-batch of validation on every replica: a forward pass."""
        layer, layout = self.layer(), self.layout
        forward = stage_layers(self.model, layout) * layer.total + self.kernels.head_s() / 3
        pipeline = forward * layout.pipeline
        return pipeline + self.replicas.waiting_for_weights_s(pipeline) + 2e-3
