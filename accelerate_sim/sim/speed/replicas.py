"""Seconds that replicas of a model wait for each other's weights and gradients, after what overlaps with computing.

One class for all ways to split the state: DDP, ZeRO-1 to 3, FSDP with and without shard groups. Collectives come from
``network.py``; what tensor, context and expert parallelism exchange inside a layer is in ``throughput.py``.
"""

from collections.abc import Mapping

from accelerate_sim.catalog import Architecture
from accelerate_sim.sim.layout import Layout
from accelerate_sim.sim.memory.memory import (
    gathered_weight_bytes,
    parameters_per_rank,
    reduced_gradient_bytes,
    reduces_often,
    stage_layers,
)
from accelerate_sim.sim.method import Method
from accelerate_sim.sim.speed.network import Network


class Replicas:
    """The data-parallel exchange of one model on one cluster."""

    def __init__(
        self, model: Architecture, layout: Layout, network: Network, method: Method, constants: Mapping[str, float]
    ) -> None:
        self.model, self.layout, self.network, self.method, self.k = model, layout, network, method, constants
        self.held = parameters_per_rank(model, layout)
        self.weight_bytes = gathered_weight_bytes(method)
        self.gradient_bytes = reduced_gradient_bytes(layout, method)
        self.reduces_often = reduces_often(model, layout, method)

    def waiting_s(self, stage_s: float) -> float:
        """Return the seconds left to wait for in a step, of which a rank computes for ``stage_s`` per micro-batch."""
        forward_s, backward_s = stage_s / 3, 2 * stage_s / 3
        # Of interleaved stages all but one are done with the last micro-batch before their rank is. That hides what is
        # exchanged once a step.
        behind = self._stages_behind()
        forward_s *= behind
        if not self.reduces_often:
            backward_s *= behind
        if self.layout.sharding in ("fsdp", "zero3"):
            return self._sharded_weights_s(forward_s, backward_s)
        return self._whole_weights_s(forward_s, backward_s)

    def waiting_for_weights_s(self, compute_s: float) -> float:
        """Return the seconds left to wait for in a forward pass alone, which computes for ``compute_s``."""
        if self.layout.sharding not in ("fsdp", "zero3"):
            return 0.0
        return self._exposed(self._gathering_s(), compute_s)

    def _sharded_weights_s(self, forward_s: float, backward_s: float) -> float:
        """Return the waiting time where replicas share weights, which passes or the whole step gather."""
        layout, held, k = self.layout, self.held, self.k
        gather = self._gathering_s()
        reduce = self._over_shards("reduce_scatter", self.gradient_bytes * held.dense)
        reduce += self._over_experts("reduce_scatter", self.gradient_bytes * held.experts)
        if not self.reduces_often:  # gathered for the first pass, reduced after the last
            return self._exposed(gather, forward_s) + self._exposed(reduce + self._copies_s(), backward_s)
        both = gather + reduce
        # With the last micro-batch; what hides one exchange cannot hide another.
        last = self._exposed(both + self._copies_s(), backward_s)
        latency = k["sharded_startup_s"] * layout.shard_ranks.num_domains * stage_layers(self.model, layout)
        if self.method.stack.overlap == "serial":
            latency += k["sharded_old_slowness"] * (2 * gather + reduce)
        each = self._exposed(gather, forward_s) + latency
        return layout.accumulation * each + (layout.accumulation - 1) * self._exposed(both, backward_s) + last

    def _whole_weights_s(self, forward_s: float, backward_s: float) -> float:
        """Return the waiting time where every rank has whole weights: for gradients and, but for DDP, new weights."""
        layout, held = self.layout, self.held
        reductions = layout.accumulation if self.reduces_often else 1
        gathered = self.gradient_bytes if layout.sharding == "ddp" else self.weight_bytes
        experts = self._copied_experts_s(gathered * held.experts, self.gradient_bytes * held.experts, reductions)
        gather = self._over_shards("all_gather", gathered * held.dense)
        reduce = self._over_shards("reduce_scatter", self.gradient_bytes * held.dense)
        if layout.sharding == "ddp":
            return experts + self._exposed(reduce + gather, backward_s)
        last = self._exposed(reduce + self._copies_s(), backward_s)
        return experts + (reductions - 1) * self._exposed(reduce, backward_s) + last + self._exposed(gather, forward_s)

    def _gathering_s(self) -> float:
        """Return the seconds to gather the sharded weights of a rank's layers, experts included."""
        dense = self._over_shards("all_gather", self.weight_bytes * self.held.dense)
        return dense + self._over_experts("all_gather", self.weight_bytes * self.held.experts)

    def _copied_experts_s(self, gathered_bytes: float, reduced_bytes: float, reductions: int) -> float:
        """Return the waiting time for weights and gradients of experts, over the ranks that hold the same ones."""
        gather = self._over_experts("all_gather", gathered_bytes)
        every = gather + reductions * self._over_experts("reduce_scatter", reduced_bytes)
        if self.method.stack.overlap in ("serial", "none"):
            return self._exposed(every, 0.0)
        return self.k["expert_data_exposed"] * every

    def _over_shards(self, collective: str, size_bytes: float) -> float:
        """Return the seconds of a collective of the ranks that split a state."""
        seconds = self.network.seconds(collective, size_bytes, self.layout.shard_ranks)
        if collective == "all_gather" and self.method.stack.gathers_by_broadcast:
            seconds += self.k["broadcast_startup_s"] * self.layout.shards
        return seconds

    def _over_experts(self, collective: str, size_bytes: float) -> float:
        return self.network.seconds(collective, size_bytes, self.layout.expert_copies)

    def _copies_s(self) -> float:
        """Return the seconds to reduce a shard's gradients over the groups that hold copies of it."""
        shard_bytes = self.gradient_bytes * self.held.shard(self.layout)
        return self.network.seconds("all_reduce", shard_bytes, self.layout.copy_ranks)

    def _stages_behind(self) -> float:
        """Return the passes through a rank's layers still to come when the first of its weights are done.

        That is one, unless stages are interleaved: then a stage has its last micro-batches, as many as ranks in
        the pipeline, while its other stages still wait for theirs (Narayanan et al. 2021, figure 4).
        """
        layout = self.layout
        if layout.virtual_stages == 1:
            return 1.0
        own = 1 / layout.virtual_stages
        return own + min(layout.pipeline, layout.accumulation) * (1 - own)

    def _exposed(self, comm_s: float, compute_s: float) -> float:
        """Return the cost of overlapped communication: the part that is not hidden, and contention with the rest."""
        if self.method.stack.overlap == "serial":
            return self.k["data_exposed.serial"] * comm_s
        if self.method.stack.overlap == "none":
            return comm_s
        # In a pipeline all stages wait for the one that is held up.
        contention = self.k["data_contention_pipelined" if self.layout.pipeline > 1 else "data_contention"]
        return max(0.0, comm_s - compute_s) + contention * min(comm_s, compute_s)
