"""What nvidia-smi would say of every GPU at any second: utilization, memory, temperature, power, clock.

Causes come first: the phase of the run sets the power that the work wants; each chip has its limits and its place; the
temperature is the power of the last minutes through a thermal resistance. So a GPU that is hot now is hot at the next
look, and all of it can be computed for any second without the ones before it. Utilization is the share of time in which
any kernel is resident, so it is near 100 % for everyone, also for those who wait for a slow one: power and clock tell.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accelerate_sim.config.schema import ImposeConfig
from accelerate_sim.sim import noise
from accelerate_sim.sim.batch_ramp import BatchSchedule
from accelerate_sim.sim.chips import POWER_EXPONENT, Chips
from accelerate_sim.sim.incidents import Incident, Incidents
from accelerate_sim.sim.layout import Layout, Ranks
from accelerate_sim.sim.noise import Floats
from accelerate_sim.sim.throughput import StepParts
from accelerate_sim.sim.timeline import Phase, Timeline

THERMAL_TAU_S = 40.0
THERMAL_LAGS = -np.log(1.0 - (np.arange(12) + 0.5) / 12)
"""In units of tau: the middles of twelve parts of the exponential memory that weigh the same."""
WELL_TUNED_POWER_SHARE = 0.85
CONTEXT_W = 50.0
"""Over idle: clocks are up and a context is resident."""
WAITING_SHARE = 0.2
"""Of the dynamic power, what a kernel draws that polls for its peers."""
STEADY_UTILIZATION_PCT: dict[Phase, float] = {
    "startup": 8.0, "step": 99.2, "checkpoint": 22.0, "validation": 97.0, "export": 4.0, "idle": 0.0,
}  # fmt: skip
CLOCK_STEP_MHZ = 15
STAGES_KEPT = 4
"""Of the batch's ramp: GPUs are looked at now, and remember a few minutes."""
BUSY: tuple[Phase, ...] = ("step", "validation")


@dataclass(frozen=True)
class GpuSample:
    """All GPUs at one moment; every array is [GPUs]."""

    rank: Ranks
    utilization_pct: Floats
    memory_used_bytes: NDArray[np.int64]
    temperature_c: Floats
    power_w: Floats
    sm_clock_mhz: Floats


class StepLoad(NamedTuple):
    """What stepping makes each GPU draw, and the share of its highest clock that is left; arrays are [GPUs]."""

    power_w: Floats
    clocks: Floats


def busy_power_share(parts: StepParts) -> float:
    """Share of the way from idle to the power limit while stepping: tensor cores, memory, links, residency."""
    tensor = parts.computing / parts.total
    memory = 0.85 * (parts.elementwise + parts.optimizer) / parts.total + 0.35 * parts.matmul / parts.total
    links = (parts.tensor_comm + parts.data_comm + parts.expert_comm + parts.context_comm) / parts.total
    resident = 1.0 - parts.other / parts.total
    return float(np.clip(0.15 * resident + 0.85 * tensor + 0.20 * memory + 0.05 * links, 0.0, 1.0))


def busy_w(chips: Chips, power_share: float) -> float:
    """Power that the work of a step wants of a mean chip."""
    return float(chips.gpu.idle_w + (chips.gpu.power_limit_w - chips.gpu.idle_w) * power_share)


class Telemetry:
    """The GPUs of a run. Constant properties of each are drawn once; samples are pure in (rank, second)."""

    def __init__(
        self,
        seed: int,
        chips: Chips,
        layout: Layout,
        batches: BatchSchedule,
        power_share: Callable[[int], float],
        compute_share: float,
        memory_by_stage: Floats,
        timeline: Timeline,
        incidents: Incidents,
        impose: ImposeConfig,
    ) -> None:
        self.seed, self.chips, self.gpu = seed, chips, chips.gpu
        self.timeline, self.incidents, self.impose = timeline, incidents, impose
        self.compute_share = compute_share
        self.batches, self._power_share = batches, power_share
        self._whole = len(batches.stages) - 1
        self._load_of_stage: dict[int, StepLoad] = {}
        self._mean_w_of_stage: dict[int, float] = {}
        self.rank = np.arange(layout.world_size)
        self.node = layout.node(self.rank)
        self.num_nodes = layout.nodes
        self.memory_used = self._memory(memory_by_stage, layout)
        wanted, idle = busy_w(chips, power_share(self._whole)), self.gpu.idle_w
        self.clocks = chips.clocks(wanted)
        self.phase_w: dict[Phase, Floats] = {
            "startup": (idle + CONTEXT_W) * chips.power_gain,
            "step": chips.allowed_w(wanted),  # with the whole global batch
            "checkpoint": (idle + CONTEXT_W + 0.05 * (wanted - idle)) * chips.power_gain,
            "validation": chips.allowed_w(idle + 0.92 * (wanted - idle)),
            "export": (idle + CONTEXT_W) * chips.power_gain,
            "idle": idle * chips.power_gain,
        }

    def _memory(self, by_stage: Floats, layout: Layout) -> Floats:
        total, own = self.gpu.memory_bytes, self.chips.memory_draw
        if self.impose.memory_share:
            low, high = self.impose.memory_share
            return np.asarray(total * (low + (high - low) / (1.0 + np.exp(-1.5 * own))))
        # NCCL buffers and library workspaces differ a little; rank 0 holds some more of everything.
        used = by_stage[layout.stage(self.rank)] + 2**20 * (90.0 + 60.0 * own) + 2**28 * (self.rank == 0)
        return np.asarray(np.minimum(used, 0.995 * total))

    def _load(self, stage: int) -> StepLoad:
        """Of a step in this stage of the batch's ramp."""
        if stage == self._whole:
            return StepLoad(self.phase_w["step"], self.clocks)
        if stage not in self._load_of_stage:
            if len(self._load_of_stage) >= STAGES_KEPT:
                self._load_of_stage.clear()
            wanted = busy_w(self.chips, self._power_share(stage))
            self._load_of_stage[stage] = StepLoad(self.chips.allowed_w(wanted), self.chips.clocks(wanted))
        return self._load_of_stage[stage]

    def memory_used_bytes(self, rank: int, step: int) -> int:
        """Of one GPU: the first steps fill the allocator's cache, then little changes."""
        used = float(self.memory_used[rank]) * _cache_filled(step)
        for incident in self.incidents.during(step, step):
            if incident.rank == rank and incident.kind == "memory":
                used += self._fragments(incident, used, step)
        return round(used / 2**20) * 2**20

    def sample(self, second: float, step: int) -> GpuSample:
        """All GPUs at this second of the run, while optimizer step ``step`` (from 0) is the latest."""
        phase, incidents = self.timeline.phase_at(second), self.incidents.during(step, step)
        memory = self.memory_used * _cache_filled(step)
        power, clocks = self._power_and_clocks(phase, second, step, incidents)
        temperature = self._temperature(second)
        for incident in incidents:
            rank, strength = incident.rank, incident.strength(step)
            if incident.kind == "hot":
                temperature[rank] += max(0.0, self._limit_c(incident) - temperature[rank]) * strength
            elif incident.kind == "memory":
                memory[rank] += self._fragments(incident, float(memory[rank]), step)
        mebibytes = np.round(memory / 2**20).astype(np.int64)
        return GpuSample(
            self.rank,
            self._utilization(phase, second),
            mebibytes * 2**20,
            np.round(temperature, 1),
            np.round(power, 1),
            np.round(self.gpu.max_clock_mhz * clocks / CLOCK_STEP_MHZ) * CLOCK_STEP_MHZ,
        )

    def _power_and_clocks(
        self, phase: Phase, second: float, step: int, incidents: list[Incident]
    ) -> tuple[Floats, Floats]:
        """Whoever is slow has a lower clock and draws less; those who wait for it draw a little less, too."""
        load = self._load(self.batches.number_at(step) if phase == "step" else self._whole)
        clocks = load.clocks.copy() if phase in BUSY else np.ones(len(self.rank))
        if phase == "idle":
            clocks *= 345 / self.gpu.max_clock_mhz
        idle = self.gpu.idle_w
        power = (load.power_w if phase == "step" else self.phase_w[phase]) * (
            1.0 + 0.02 * noise.rough_normal(self.seed, "gpu/power", self.rank, int(second * 4))
        )
        if phase in BUSY and incidents:
            slowdown = float(self.incidents.slowdown(np.array([step]))[0])
            waiting = 1.0 - 1.0 / (1.0 + self.compute_share * (slowdown - 1.0))
            kept = np.full(len(self.rank), 1.0 - (1.0 - WAITING_SHARE) * waiting)
            for incident in incidents:
                own = 1.0 / (1.0 + incident.excess(step))
                clocks[incident.rank] *= own
                kept[incident.rank] = own**POWER_EXPONENT
            power = idle + (power - idle) * kept
        # At its limit a board is held there, to within what the sensor shows.
        return np.asarray(np.minimum(power, self.gpu.power_limit_w)), np.asarray(clocks)

    def _utilization(self, phase: Phase, second: float) -> Floats:
        if self.impose.utilization_pct:
            return np.asarray(np.round(self._imposed("utilization", self.impose.utilization_pct, second)), float)
        quick = noise.rough_normal(self.seed, "gpu/utilization", self.rank, int(second * 4))
        own = 0.3 * self.chips.utilization_draw + 0.4 * quick
        if phase in ("export", "idle"):
            own = own * (self.rank == 0)
        return np.asarray(np.round(np.clip(STEADY_UTILIZATION_PCT[phase] + own, 0.0, 100.0)), float)

    def _limit_c(self, incident: Incident) -> float:
        """Where a GPU with a blocked fan goes: to its limit, where the clock is cut until it stays there."""
        limit = self.gpu.slowdown_temperature_c - 1.5 + 1.5 * (incident.slowdown - 1.02) / 0.08
        return min(limit, self.impose.temperature_c[1]) if self.impose.temperature_c else limit

    def _fragments(self, incident: Incident, used: float, step: int) -> float:
        """Bytes that fragmentation adds to those in use."""
        fullest = self.impose.memory_share[1] if self.impose.memory_share else 0.985
        return max(0.0, fullest * self.gpu.memory_bytes - used) * incident.strength(step)

    def _temperature(self, second: float) -> Floats:
        if self.impose.temperature_c:
            return self._imposed("temperature", self.impose.temperature_c, second)
        recent = [self._drawing_at(float(second - lag * THERMAL_TAU_S)) for lag in THERMAL_LAGS]
        recent_w = sum(
            (self._load(stage).power_w if phase == "step" else self.phase_w[phase])
            * (recent.count((phase, stage)) / len(recent))
            for phase, stage in sorted(set(recent))
        )
        room = 0.8 * noise.smooth(self.seed, "gpu/room", 5400.0, second, np.arange(self.num_nodes))
        air = 0.5 * noise.smooth(self.seed, "gpu/air", 240.0, second, self.rank, draw=noise.rough_normal)
        return np.asarray(self.chips.inlet_c + room[self.node] + self.chips.rise_c(recent_w) + air)

    def _drawing_at(self, second: float) -> tuple[Phase, int]:
        """What sets the power at this second: the phase, and in steps the stage of the batch's ramp."""
        phase = self.timeline.phase_at(second)
        if phase != "step" or self._whole == 0:
            return phase, self._whole
        return phase, self.batches.number_at(self.timeline.step_at(second))

    def _imposed(self, what: str, bounds: tuple[float, float], second: float) -> Floats:
        low, high = bounds
        own = noise.normal(self.seed, "gpu/imposed " + what, self.rank)
        slow = noise.smooth(self.seed, "gpu/imposed wander " + what, 120.0, second, self.rank)
        return np.asarray(low + (high - low) / (1.0 + np.exp(-1.3 * (0.9 * own + 0.4 * slow))))

    def mean_power_w(self, phase: Phase) -> float:
        """Mean over the GPUs: what the energy is the sum of. Of steps, those with the whole global batch."""
        return float(self.phase_w[phase].mean())

    def mean_step_power_w(self, step: int) -> float:
        """The same of this step."""
        stage = self.batches.number_at(step)
        if stage not in self._mean_w_of_stage:
            self._mean_w_of_stage[stage] = float(self._load(stage).power_w.mean())
        return self._mean_w_of_stage[stage]


def _cache_filled(step: int) -> float:
    """Share of its final memory that a GPU uses: buffers appear in the first steps, then nothing changes."""
    return 1.0 - 0.05 * 0.3 ** min(max(step, 0), 20)
