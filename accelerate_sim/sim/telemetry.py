"""What nvidia-smi would say of every GPU at any second: utilization, memory, temperature, power, clock.

Causes come first: the phase of the run sets the mean power; each GPU has its own efficiency, place in the chassis and
inlet air; temperature is the power of the last minutes through a thermal resistance. So a GPU that is hot now is hot at
the next look, and all of it can be computed for any second without the ones before it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accelerate_sim.catalog import GpuSpec
from accelerate_sim.config.schema import ImposeConfig
from accelerate_sim.sim import noise
from accelerate_sim.sim.incidents import Incident, Incidents
from accelerate_sim.sim.layout import Layout, Ranks
from accelerate_sim.sim.noise import Floats
from accelerate_sim.sim.throughput import StepParts
from accelerate_sim.sim.timeline import Phase, Timeline

RISE_AT_LIMIT_C = 44.0
"""Core over inlet at the power limit, air cooled: 0.063 C/W at 700 W."""
THERMAL_TAU_S = 40.0
THERMAL_LAGS = -np.log(1.0 - (np.arange(12) + 0.5) / 12)
"""In units of tau: the middles of twelve parts of the exponential memory that weigh the same."""
REAR_SLOT_RISE = 0.09
"""The second row of GPUs breathes the first row's air."""
WELL_TUNED_POWER_SHARE = 0.85
CONTEXT_W = 50.0
"""Over idle: clocks are up and a context is resident."""
STEADY_UTILIZATION_PCT = {
    "startup": 8.0, "step": 98.7, "checkpoint": 22.0, "validation": 96.0, "finished": 0.0,
}  # fmt: skip


@dataclass(frozen=True)
class GpuSample:
    """All GPUs at one moment; every array is [GPUs]."""

    rank: Ranks
    utilization_pct: Floats
    memory_used_bytes: NDArray[np.int64]
    temperature_c: Floats
    power_w: Floats


def busy_power_share(parts: StepParts) -> float:
    """Share of the way from idle to the power limit while stepping: tensor cores, memory, links, residency."""
    tensor = parts.computing / parts.total
    memory = 0.85 * (parts.elementwise + parts.optimizer) / parts.total + 0.35 * parts.matmul / parts.total
    links = (parts.tensor_comm + parts.data_comm + parts.expert_comm + parts.context_comm) / parts.total
    resident = 1.0 - parts.other / parts.total
    return float(np.clip(0.15 * resident + 0.85 * tensor + 0.20 * memory + 0.05 * links, 0.0, 1.0))


class Telemetry:
    """The GPUs of a run. Constant properties of each are drawn once; samples are pure in (rank, second)."""

    def __init__(
        self,
        seed: int,
        gpu: GpuSpec,
        layout: Layout,
        ambient_c: float,
        power_share: float,
        memory_by_stage: Floats,
        timeline: Timeline,
        incidents: Incidents,
        impose: ImposeConfig,
    ) -> None:
        self.seed, self.gpu, self.timeline, self.incidents, self.impose = seed, gpu, timeline, incidents, impose
        self.rank = np.arange(layout.world_size)
        own = noise.normal(seed, "gpu/chip", self.rank[:, None], np.arange(4))
        self.node = layout.node(self.rank)
        self.num_nodes = layout.nodes
        rear = layout.local_rank(self.rank) >= (layout.gpus_per_node + 1) // 2
        self.power_gain = 1.0 + 0.022 * own[:, 0]
        self.resistance_gain = (1.0 + 0.06 * own[:, 1]) * (1.0 + REAR_SLOT_RISE * (rear - 0.5))
        inlet = 1.4 * noise.normal(seed, "gpu/inlet", np.arange(layout.nodes))
        self.inlet_c = ambient_c + inlet[self.node]
        self.memory_used = self._memory(memory_by_stage, layout, own[:, 2])
        self.utilization_offset = 0.4 * own[:, 3]
        swing = gpu.power_limit_w - gpu.idle_w
        self.phase_w: dict[Phase, float] = {
            "startup": gpu.idle_w + CONTEXT_W,
            "step": gpu.idle_w + swing * power_share,
            "checkpoint": gpu.idle_w + CONTEXT_W + 0.05 * swing,
            "validation": gpu.idle_w + swing * 0.92 * power_share,
            "finished": gpu.idle_w + CONTEXT_W,
        }

    def _memory(self, by_stage: Floats, layout: Layout, own: Floats) -> Floats:
        total = self.gpu.memory_bytes
        if self.impose.memory_share:
            low, high = self.impose.memory_share
            return np.asarray(total * (low + (high - low) / (1.0 + np.exp(-1.5 * own))))
        # NCCL buffers and library workspaces differ a little; rank 0 holds some more of everything.
        used = by_stage[layout.stage(self.rank)] + 2**20 * (90.0 + 60.0 * own) + 2**28 * (self.rank == 0)
        return np.asarray(np.minimum(used, 0.995 * total))

    def memory_used_bytes(self, rank: int, step: int) -> int:
        """Of one GPU: the first steps fill the allocator's cache, then little changes."""
        used = float(self.memory_used[rank]) * _cache_filled(step)
        for incident in self.incidents.during(step, step):
            if incident.rank == rank and incident.kind == "memory":
                used += self._fragments(incident, used, step)
        return round(used / 2**20) * 2**20

    def sample(self, second: float, step: int) -> GpuSample:
        """All GPUs at this second of the run, while optimizer step ``step`` (from 0) is the latest."""
        phase, impose = self.timeline.phase_at(second), self.impose
        quick = noise.normal(self.seed, "gpu/quick", self.rank[:, None], int(second * 4), np.arange(2))
        power = self.phase_w[phase] * self.power_gain * (1.0 + 0.02 * quick[:, 0])
        memory = self.memory_used * _cache_filled(step)
        if impose.temperature_c:
            temperature = self._imposed("temperature", impose.temperature_c, second)
        else:
            temperature = self._temperature(second)
        if impose.utilization_pct:
            utilization = self._imposed("utilization", impose.utilization_pct, second)
        else:
            utilization = STEADY_UTILIZATION_PCT[phase] + self.utilization_offset + 0.6 * quick[:, 1]
        for incident in self.incidents.during(step, step):
            rank, strength = incident.rank, incident.strength(step)
            if incident.kind == "hot":
                temperature[rank] += max(0.0, self._limit_c(incident) - temperature[rank]) * strength
                power[rank] *= 1.0 - 0.8 * (1.0 - 1.0 / incident.slowdown) * strength
            elif incident.kind == "slow":
                least = impose.utilization_pct[0] if impose.utilization_pct else 0.0
                utilization[rank] -= min(60.0 * (incident.slowdown - 1.0) * strength, utilization[rank] - least)
            else:
                memory[rank] += self._fragments(incident, float(memory[rank]), step)
        mebibytes = np.round(memory / 2**20).astype(np.int64)
        return GpuSample(
            self.rank,
            np.asarray(np.round(np.clip(utilization, 0.0, 100.0)), float),
            mebibytes * 2**20,
            np.round(temperature, 1),
            np.asarray(np.round(np.minimum(power, self.gpu.power_limit_w * 1.01), 1), float),
        )

    def _limit_c(self, incident: Incident) -> float:
        """Where a GPU with a blocked fan goes: to its limit, where the clock is cut until it stays there."""
        limit = self.gpu.slowdown_temperature_c - 1.5 + 1.5 * (incident.slowdown - 1.02) / 0.08
        return min(limit, self.impose.temperature_c[1]) if self.impose.temperature_c else limit

    def _fragments(self, incident: Incident, used: float, step: int) -> float:
        """Bytes that fragmentation adds to those in use."""
        fullest = self.impose.memory_share[1] if self.impose.memory_share else 0.985
        return max(0.0, fullest * self.gpu.memory_bytes - used) * incident.strength(step)

    def _temperature(self, second: float) -> Floats:
        lagged = [self.phase_w[self.timeline.phase_at(float(second - lag * THERMAL_TAU_S))] for lag in THERMAL_LAGS]
        recent_w = sum(lagged) / len(lagged)
        rise = RISE_AT_LIMIT_C * recent_w / self.gpu.power_limit_w * self.power_gain * self.resistance_gain
        room = 0.8 * noise.smooth(self.seed, "gpu/room", 5400.0, second, np.arange(self.num_nodes))
        return np.asarray(
            self.inlet_c + room[self.node] + rise + 0.5 * noise.smooth(self.seed, "gpu/air", 240.0, second, self.rank)
        )

    def _imposed(self, what: str, bounds: tuple[float, float], second: float) -> Floats:
        low, high = bounds
        own = noise.normal(self.seed, "gpu/imposed " + what, self.rank)
        slow = noise.smooth(self.seed, "gpu/imposed wander " + what, 120.0, second, self.rank)
        return np.asarray(low + (high - low) / (1.0 + np.exp(-1.3 * (0.9 * own + 0.4 * slow))))

    def mean_power_w(self, phase: Phase) -> float:
        """Mean over the GPUs: what the energy is the sum of."""
        return float(self.phase_w[phase] * self.power_gain.mean())


def _cache_filled(step: int) -> float:
    """Share of its final memory that a GPU uses: buffers appear in the first steps, then nothing changes."""
    return 1.0 - 0.05 * 0.3 ** min(max(step, 0), 20)
