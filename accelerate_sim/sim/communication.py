"""The collectives that a job would time now and then: which, how big, how long."""

from dataclasses import dataclass

from accelerate_sim.catalog import Architecture
from accelerate_sim.sim import noise
from accelerate_sim.sim.layout import Group, Layout
from accelerate_sim.sim.memory import parameters_per_layer, parameters_per_rank
from accelerate_sim.sim.network import Network

SPACING = 75
"""Steps between two timed collectives, give or take ``SPREAD``."""
SPREAD = 12
TEST_BYTES = 2**30


@dataclass(frozen=True)
class Collective:
    """One timed collective. Bandwidths as nccl-tests defines them."""

    name: str
    axis: str
    """Which groups of the layout do it: tensor, data, expert or world."""
    size_bytes: int
    num_ranks: int
    num_nodes: int
    seconds: float
    algorithm_bytes_per_s: float
    bus_bytes_per_s: float


class Communication:
    """Timed collectives of a run, each a pure function of (seed, step)."""

    def __init__(self, seed: int, model: Architecture, layout: Layout, network: Network) -> None:
        self.seed, self.layout, self.network = seed, layout, network
        self.candidates = self._candidates(model)

    def _candidates(self, model: Architecture) -> list[tuple[str, str, Group, int]]:
        layout = self.layout
        layer = parameters_per_layer(model, layout).total
        tokens = layout.micro_batch * layout.sequence_length / layout.context
        found = []
        if layout.data > 1 and layout.sharding in ("fsdp", "zero3"):
            found.append(("all_gather", "data", layout.data_group, int(2 * layer)))
            found.append(("reduce_scatter", "data", layout.data_group, int(2 * layer)))
        elif layout.data > 1:
            bucket = min(int(4 * parameters_per_rank(model, layout).total), 2**29)
            found.append(
                ("all_reduce" if layout.sharding == "ddp" else "reduce_scatter", "data", layout.data_group, bucket)
            )
        if layout.tensor > 1:
            found.append(("all_reduce", "tensor", layout.tensor_group, int(2 * tokens * model.hidden)))
        if model.moe and layout.expert > 1:
            size = 2 * tokens / layout.tensor * model.moe.active_experts * model.hidden
            found.append(("all_to_all", "expert", layout.expert_group, int(size)))
        return found

    def at(self, step: int) -> Collective | None:
        """The collective that is timed in this step (from 0), if any."""
        if not self.candidates:
            return None
        number = (step - SPACING // 3 + SPACING // 2) // SPACING
        offset = float(noise.uniform(self.seed, "nccl/when", number)[0])
        if step != number * SPACING + SPACING // 3 + round((2 * offset - 1) * SPREAD):
            return None
        pick = int(noise.uniform(self.seed, "nccl/which", step)[0] * len(self.candidates))
        name, axis, group, size = self.candidates[pick]
        return self._timed(name, axis, group, size, step)

    def test(self) -> Collective:
        """The all-reduce test over the whole world before the first step."""
        return self._timed("all_reduce", "world", self.layout.world_group, TEST_BYTES, -1)

    def _timed(self, name: str, axis: str, group: Group, size: int, step: int) -> Collective:
        if group.size == 1:
            return Collective(name, axis, size, 1, 1, 0.0, 0.0, 0.0)
        seconds, _, _ = self.network.bandwidths(name, size, group)
        # Never faster than the links; slower by a few percent when others use them.
        seconds *= 1.0 + 0.03 * float(noise.exponential(self.seed, "nccl/busy", step + 1)[0])
        seconds = round(seconds, 9)
        algorithm = size / seconds
        on_bus = self.network.bus_factor(name, group)
        per_node = min(group.per_domain, self.layout.gpus_per_node)
        return Collective(
            name, axis, size, group.size, -(-group.size // per_node), seconds, algorithm, algorithm * on_bus
        )
