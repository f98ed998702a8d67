"""Timed collectives of a run: name, size, algorithm and duration of one every 75 steps or so."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from accelerate_sim.catalog import Architecture
from accelerate_sim.sim import noise
from accelerate_sim.sim.layout import Group, Layout
from accelerate_sim.sim.memory.memory import WEIGHT_BYTES, parameters_per_layer, parameters_per_rank
from accelerate_sim.sim.speed.nccl_choice import Choice, nccl_choice
from accelerate_sim.sim.speed.network import Network

SPACING = 75
"""Steps between two timed collectives, give or take ``SPREAD``."""
SPREAD = 12
TEST_BYTES = 2**30
HIDDEN_BYTES = 2
"""Bytes of an activation that is sent."""


@dataclass(frozen=True)
class Collective:
    """One timed collective. Bandwidths as nccl-tests defines them."""

    name: str
    axis: str
    """Groups of the layout that take part: tensor, context, pipeline, data, expert or world."""
    choice: Choice
    size_bytes: int
    num_ranks: int
    num_nodes: int
    seconds: float
    algorithm_bytes_per_s: float
    bus_bytes_per_s: float


class Candidate(NamedTuple):
    """A collective of every step; ``size_bytes`` as ``Network.seconds`` counts them."""

    name: str
    axis: str
    group: Group
    size_bytes: int


class Communication:
    """Timed collectives of a run, each a pure function of (seed, step)."""

    def __init__(self, seed: int, model: Architecture, layout: Layout, network: Network) -> None:
        self.seed, self.layout, self.network = seed, layout, network
        self.candidates = [*self._of_weights(model), *self._of_activations(model)]
        self._due: tuple[int, int] | None = None
        """Number of a timed collective, and the step that it is in."""

    def _of_weights(self, model: Architecture) -> Iterator[Candidate]:
        layout, group = self.layout, self.layout.data_group
        if layout.data == 1:
            return
        if layout.sharding in ("fsdp", "zero3"):
            layer = int(WEIGHT_BYTES * parameters_per_layer(model, layout).total)
            yield Candidate("all_gather", "data", group, layer)
            yield Candidate("reduce_scatter", "data", group, layer)
        else:
            bucket = min(int(4 * parameters_per_rank(model, layout).total), 2**29)
            yield Candidate("all_reduce" if layout.sharding == "ddp" else "reduce_scatter", "data", group, bucket)

    def _of_activations(self, model: Architecture) -> Iterator[Candidate]:
        layout = self.layout
        tokens = layout.micro_batch * layout.sequence_length / layout.context
        hidden_bytes = HIDDEN_BYTES * tokens * model.hidden
        if layout.tensor > 1:
            # With sequence parallelism the two halves of the reduction are apart: norms work on shards in between.
            for name in ("all_gather", "reduce_scatter") if layout.sequence_parallel else ("all_reduce",):
                yield Candidate(name, "tensor", layout.tensor_group, int(hidden_bytes))
        if model.moe and layout.expert > 1:
            size = hidden_bytes / layout.tensor * model.moe.active_experts
            yield Candidate("all_to_all", "expert", layout.expert_group, int(size))
        if layout.context > 1:
            heads = model.kv_heads / min(layout.tensor, model.kv_heads)
            size = 2 * HIDDEN_BYTES * tokens * heads * model.head_dim * layout.context
            yield Candidate("all_gather", "context", layout.context_group, int(size))
        if layout.pipeline > 1:
            near = layout.stage_stride < layout.nvlink_domain
            yield Candidate("send_recv", "pipeline", Group(2, 2 if near else 1), int(hidden_bytes / layout.tensor))

    def at(self, step: int) -> Collective | None:
        """Return the collective that is timed in this step (from 0), if any."""
        if not self.candidates:
            return None
        number = (step - SPACING // 3 + SPACING // 2) // SPACING
        if self._due is None or self._due[0] != number:
            self._due = number, self._step_of(number)
        if step != self._due[1]:
            return None
        pick = int(noise.uniform(self.seed, "nccl/which", step)[0] * len(self.candidates))
        return self._timed(self.candidates[pick], step)

    def _step_of(self, number: int) -> int:
        """Return the step in which timed collective ``number`` is."""
        offset = float(noise.uniform(self.seed, "nccl/when", number)[0])
        return number * SPACING + SPACING // 3 + round((2 * offset - 1) * SPREAD)

    def test(self) -> Collective:
        """Return the all-reduce test over the whole world before the first step."""
        return self._timed(Candidate("all_reduce", "world", self.layout.world_group, TEST_BYTES), -1)

    def seconds(self, candidate: Candidate) -> float:
        """Return the seconds of a collective while nothing else is on the links."""
        name, axis, group, size = candidate
        if axis == "pipeline":
            return self.network.neighbour_s(size, far=group.num_domains > 1)
        return self.network.seconds(name, size, group)

    def _timed(self, candidate: Candidate, step: int) -> Collective:
        name, axis, group, size = candidate
        choice = nccl_choice(self.network, name, size, group)
        if group.size == 1:
            return Collective(name, axis, choice, size, 1, 1, 0.0, 0.0, 0.0)
        seconds = self.seconds(candidate)
        # Never faster than the links; slower by a few percent when others use them.
        seconds *= 1.0 + 0.03 * float(noise.exponential(self.seed, "nccl/busy", step + 1)[0])
        seconds = round(seconds, 9)
        algorithm = size / seconds
        on_bus = 1.0 if axis == "pipeline" else self.network.bus_factor(name, group)
        return Collective(
            name, axis, choice, size, group.size, self._nodes(candidate), seconds, algorithm, algorithm * on_bus
        )

    def _nodes(self, candidate: Candidate) -> int:
        """Return the number of machines that a group is spread over."""
        per_node = self.layout.gpus_per_node
        if candidate.axis == "pipeline":
            return 1 if self.layout.stage_stride < per_node else 2
        group = candidate.group
        return -(-group.size // min(group.per_domain, per_node))
