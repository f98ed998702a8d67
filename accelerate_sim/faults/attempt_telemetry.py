"""``AttemptTelemetry``: the samples of all GPUs in an attempt, with what is wrong with some of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from accelerate_sim.sim.gpus.chips import POWER_EXPONENT
from accelerate_sim.sim.gpus.telemetry import BUSY, CLOCK_STEP_MHZ, WAITING_SHARE, GpuSample, Telemetry

if TYPE_CHECKING:
    from accelerate_sim.gpu_condition import Condition


class AttemptTelemetry(Telemetry):
    """The telemetry of a run, seen in one of its attempts."""

    _conditions: Callable[[float, int], Mapping[int, Condition]]
    _is_halted: Callable[[float, int], bool]

    @classmethod
    def over(
        cls,
        base: Telemetry,
        conditions: Callable[[float, int], Mapping[int, Condition]],
        is_halted: Callable[[float, int], bool],
    ) -> AttemptTelemetry:
        """Telemetry that shares the arrays of ``base``. Both functions take a second and a step of the run."""
        telemetry = cls.__new__(cls)
        telemetry.__dict__.update(base.__dict__)
        telemetry._conditions, telemetry._is_halted = conditions, is_halted
        return telemetry

    def sample(self, second: float, step: int) -> GpuSample:
        sample = super().sample(second, step)
        if sample.phase in BUSY and self._is_halted(second, step):
            # Kernels that wait for a peer poll: the GPUs are used all the time, and need little power.
            polling_w = self.gpu.idle_w + (sample.power_w - self.gpu.idle_w) * WAITING_SHARE
            sample = replace(sample, power_w=np.round(polling_w, 1))
        conditions = self._conditions(second, step)
        return self._changed(sample, conditions) if conditions else sample

    def _changed(self, sample: GpuSample, conditions: Mapping[int, Condition]) -> GpuSample:
        """The sample with clocks, power and temperature as they are, and nothing of GPUs that are gone."""
        idle_w, limit_c = self.gpu.idle_w, self.gpu.slowdown_temperature_c - 0.5
        if self.impose.temperature_c:
            limit_c = min(limit_c, self.impose.temperature_c[1])
        clocks, power = sample.sm_clock_mhz.copy(), sample.power_w.copy()
        temperature, utilization = sample.temperature_c.copy(), sample.utilization_pct.copy()
        memory = sample.memory_used_bytes.copy()
        slowest = min((each.speed for each in conditions.values() if not each.lost), default=1.0)
        starved = max((each.starved for each in conditions.values()), default=0.0) if sample.phase == "step" else 0.0
        if sample.phase in BUSY and (slowest < 1.0 or starved):
            factor = 1.0 + (1.0 / slowest - 1.0) * self.compute_share
            waiting = max(1.0 - 1.0 / factor, starved)
            power = idle_w + (power - idle_w) * (1.0 - (1.0 - WAITING_SHARE) * waiting)
        for rank, each in conditions.items():
            if each.lost:
                for figures in (clocks, power, temperature, utilization, memory):
                    figures[rank] = 0
                continue
            if each.idle and sample.phase in BUSY:
                utilization[rank], power[rank] = 0, idle_w
            if each.starved and sample.phase == "step":
                utilization[rank] = round(utilization[rank] * (1.0 - each.starved))
                power[rank] = idle_w + (sample.power_w[rank] - idle_w) * (1.0 - each.starved)
            if each.speed < 1.0:
                clocks[rank] = round(clocks[rank] * each.speed / CLOCK_STEP_MHZ) * CLOCK_STEP_MHZ
                if sample.phase in BUSY:
                    power[rank] = idle_w + (sample.power_w[rank] - idle_w) * each.speed**POWER_EXPONENT
            if each.heat:
                temperature[rank] += max(0.0, limit_c - temperature[rank]) * each.heat
        return replace(
            sample, utilization_pct=utilization, memory_used_bytes=memory, temperature_c=np.round(temperature, 1),
            power_w=np.round(power, 1), sm_clock_mhz=clocks,
        )  # fmt: skip
