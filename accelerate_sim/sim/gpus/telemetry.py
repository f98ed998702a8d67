"""Computes utilization, memory, temperature, power and clock of every GPU at any second.

The phase of the run sets the power that the work wants; each chip has its limits and its place; the temperature is the
power of the last minutes through a thermal resistance. So a GPU that is hot now is hot in the next sample, and any
second can be computed without the seconds before it. Utilization is the share of time in which
any kernel is resident, so it is near 100 % also for GPUs that wait for a slow one; power and clock show the difference.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accelerate_sim.config.sections.play import ImposeConfig
from accelerate_sim.sim import noise
from accelerate_sim.sim.batch_ramp import BatchSchedule
from accelerate_sim.sim.disturbances.incidents import Incident, Incidents
from accelerate_sim.sim.gpus.activity import drawn_w
from accelerate_sim.sim.gpus.chips import POWER_EXPONENT, Chips
from accelerate_sim.sim.gpus.step_load import Load, StepLoads
from accelerate_sim.sim.layout import Layout, Ranks
from accelerate_sim.sim.memory.filling import MemoryFilling, cache_filled
from accelerate_sim.sim.noise import Floats
from accelerate_sim.sim.timeline import Phase, Span, Timeline

THERMAL_TAU_S = 40.0
THERMAL_MEMORY_S = 10 * THERMAL_TAU_S
"""Seconds of power that a temperature depends on; earlier power is taken as constant, an error of 0.002 C."""
IDLE_CLOCK_MHZ = 345
WAITING_SHARE = 0.2
"""Share of the dynamic power that a kernel draws while it polls for its peers."""
STEADY_UTILIZATION_PCT: dict[Phase, float] = {
    "startup": 8.0, "step": 99.2, "checkpoint": 22.0, "validation": 97.0, "export": 4.0, "idle": 0.0,
}  # fmt: skip
SAVING_SHARE = 0.04
"""Power during a checkpoint, from 0 (a resident context) to 1 (the limit): states are copied to the host."""
CLOCK_STEP_MHZ = 15
BUSY: tuple[Phase, ...] = ("step", "validation")


@dataclass(frozen=True)
class GpuSample:
    """All GPUs at one moment; every array is [GPUs]."""

    phase: Phase
    rank: Ranks
    utilization_pct: Floats
    memory_used_bytes: NDArray[np.int64]
    temperature_c: Floats
    power_w: Floats
    sm_clock_mhz: Floats


class Telemetry:
    """The GPUs of a run. Constant properties of each are drawn once; samples are pure in (rank, second)."""

    def __init__(
        self,
        seed: int,
        chips: Chips,
        layout: Layout,
        batches: BatchSchedule,
        power_share: Callable[[int], float],
        validation_power_share: float,
        compute_share: float,
        filling: MemoryFilling,
        timeline: Timeline,
        incidents: Incidents,
        impose: ImposeConfig,
    ) -> None:
        self.chips, self.gpu, self.impose = chips, chips.gpu, impose
        self.timeline, self.incidents, self.filling = timeline, incidents, filling
        self.compute_share = compute_share
        self.batches, self._whole = batches, len(batches.stages) - 1
        self.rank = np.arange(layout.world_size)
        self.node, self.stage = layout.node(self.rank), layout.stage(self.rank)
        self.memory_used = self._memory(filling.peak_bytes)
        self._loads = StepLoads(chips, power_share, self._whole)
        self._validation_load = Load.of(chips, validation_power_share)
        resident_w = drawn_w(self.gpu, 0.0) * chips.power_gain
        self.phase_w: dict[Phase, Floats] = {
            "startup": resident_w,
            "step": self._loads.whole.power_w,  # with the whole global batch
            "checkpoint": drawn_w(self.gpu, SAVING_SHARE) * chips.power_gain,
            "validation": self._validation_load.power_w,
            "export": resident_w,
            "idle": self.gpu.idle_w * chips.power_gain,
        }
        self._power_noise = noise.RoughNormals(seed, "gpu/power", self.rank)
        self._utilization_noise = noise.RoughNormals(seed, "gpu/utilization", self.rank)
        self._room = noise.Wander(seed, "gpu/room", 5400.0, np.arange(layout.nodes))
        self._air = noise.Wander(seed, "gpu/air", 240.0, self.rank, draw=noise.rough_normal)
        self._seed = seed

    def _memory(self, by_stage: Floats) -> Floats:
        total, own = self.gpu.memory_bytes, self.chips.memory_draw
        if self.impose.memory_share:
            low, high = self.impose.memory_share
            return np.asarray(total * (low + (high - low) / (1.0 + np.exp(-1.5 * own))))
        # NCCL buffers and library workspaces differ a little; rank 0 holds some more of everything.
        used = by_stage[self.stage] + 2**20 * (90.0 + 60.0 * own) + 2**28 * (self.rank == 0)
        return np.asarray(np.minimum(used, 0.995 * total))

    def memory_used_bytes(self, rank: int, step: int) -> int:
        """Bytes in use on one GPU at the end of a step; after the first steps, which fill a cache, little changes."""
        used = float(self.memory_used[rank]) * cache_filled(step)
        for incident in self.incidents.during(step, step):
            if incident.rank == rank and incident.kind == "memory":
                used += self._fragments(incident, used, step)
        return round(used / 2**20) * 2**20

    def sample(self, second: float, step: int) -> GpuSample:
        """All GPUs at this second of the run, while optimizer step ``step`` (from 0) is the latest."""
        phase = self.timeline.phase_at(second)
        incidents = [] if phase == "idle" else self.incidents.during(step, step)
        share = self.filling.share(second, step)
        memory = self.memory_used * (share if isinstance(share, float) else share[self.stage])
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
            phase,
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
        """Lower the clock and the power of slow GPUs, and slightly the power of the GPUs that wait for them."""
        if phase in BUSY:
            steady_w, clocks = (
                self._loads.at(self.batches.number_at(step)) if phase == "step" else self._validation_load
            )
        else:
            lowered = IDLE_CLOCK_MHZ / self.gpu.max_clock_mhz if phase == "idle" else 1.0
            steady_w, clocks = self.phase_w[phase], np.full(len(self.rank), lowered)
        idle = self.gpu.idle_w
        power = 1.0 + 0.02 * self._power_noise.at(int(second * 4))
        power *= steady_w
        if phase in BUSY and incidents:
            slowdown = float(self.incidents.slowdown(np.array([step]))[0])
            waiting = 1.0 - 1.0 / (1.0 + self.compute_share * (slowdown - 1.0))
            kept, clocks = np.full(len(self.rank), 1.0 - (1.0 - WAITING_SHARE) * waiting), clocks.copy()
            for incident in incidents:
                own = 1.0 / (1.0 + incident.excess(step))
                clocks[incident.rank] *= own
                kept[incident.rank] = own**POWER_EXPONENT
            power = idle + (power - idle) * kept
        # A board at its limit is held there, to within the accuracy of the sensor.
        return np.asarray(np.minimum(power, self.gpu.power_limit_w)), np.asarray(clocks)

    def _utilization(self, phase: Phase, second: float) -> Floats:
        if self.impose.utilization_pct:
            return np.asarray(np.round(self._imposed("utilization", self.impose.utilization_pct, second)), float)
        own = 0.3 * self.chips.utilization_draw + 0.4 * self._utilization_noise.at(int(second * 4))
        if phase in ("export", "idle"):
            own = own * (self.rank == 0)
        return np.asarray(np.round(np.clip(STEADY_UTILIZATION_PCT[phase] + own, 0.0, 100.0)), float)

    def _limit_c(self, incident: Incident) -> float:
        """Temperature of a GPU with a blocked fan: its limit, at which the lowered clock holds it."""
        limit = self.gpu.slowdown_temperature_c - 1.5 + 1.5 * (incident.slowdown - 1.02) / 0.08
        return min(limit, self.impose.temperature_c[1]) if self.impose.temperature_c else limit

    def _fragments(self, incident: Incident, used: float, step: int) -> float:
        """Bytes that fragmentation adds to those in use."""
        fullest = self.impose.memory_share[1] if self.impose.memory_share else 0.985
        return max(0.0, fullest * self.gpu.memory_bytes - used) * incident.strength(step)

    def _temperature(self, second: float) -> Floats:
        if self.impose.temperature_c:
            return self._imposed("temperature", self.impose.temperature_c, second)
        room = 0.8 * self._room.at(second)
        air = 0.5 * self._air.at(second)
        return np.asarray(self.chips.inlet_c + room[self.node] + self.chips.rise_c(self._recent_w(second)) + air)

    def _recent_w(self, second: float) -> Floats:
        """Power of the last minutes, weighted exponentially with time constant THERMAL_TAU_S."""
        begin_s = second - THERMAL_MEMORY_S
        weights: dict[tuple[Phase, int], float] = {}
        for span in self.timeline.spans(begin_s, second):
            for stage, from_s, to_s in self._stages_in(span):
                before = 0.0 if from_s == begin_s else np.exp((from_s - second) / THERMAL_TAU_S)
                weight = float(np.exp((to_s - second) / THERMAL_TAU_S) - before)
                weights[span.phase, stage] = weights.get((span.phase, stage), 0.0) + weight
        each = (
            (self._loads.at(stage).power_w if phase == "step" else self.phase_w[phase]) * weight
            for (phase, stage), weight in sorted(weights.items())
        )
        return np.asarray(sum(each))

    def _stages_in(self, span: Span) -> Iterator[tuple[int, float, float]]:
        """(stage of the batch's ramp, begin, end) of the spans that set the power in this time."""
        begin_s = span.begin_s
        if span.phase == "step" and self._whole:
            first, last = (self.batches.number_at(self.timeline.step_at(at_s)) for at_s in (begin_s, span.end_s))
            for stage in range(first, last):
                end_s = self.timeline.step_end_s(self.batches.stages[stage + 1].first_step - 1)
                yield stage, begin_s, end_s
                begin_s = end_s
            yield last, begin_s, span.end_s
        else:
            yield self._whole, begin_s, span.end_s

    def _imposed(self, what: str, bounds: tuple[float, float], second: float) -> Floats:
        low, high = bounds
        own = noise.normal(self._seed, "gpu/imposed " + what, self.rank)
        slow = noise.smooth(self._seed, "gpu/imposed wander " + what, 120.0, second, self.rank)
        return np.asarray(low + (high - low) / (1.0 + np.exp(-1.3 * (0.9 * own + 0.4 * slow))))

    def mean_power_w(self, phase: Phase) -> float:
        """Mean watts over the GPUs in a phase; in steps, with the whole global batch."""
        return float(self.phase_w[phase].mean())

    def mean_step_power_w(self, step: int) -> float:
        """Mean watts over the GPUs in this step."""
        return self._loads.mean_w(self.batches.number_at(step))
