"""Differences between the GPUs of a cluster, and the clocks that power and temperature limits leave them.

Each chip has its own leakage, cooler, slot and inlet air. Busy power follows from the phase; a chip that would pass its
power limit, or its slowdown temperature, lowers its clock until it does not. The slowest chip then sets the step time.
"""

from dataclasses import dataclass

import numpy as np

from accelerate_sim.catalog import GpuSpec
from accelerate_sim.records.median import median
from accelerate_sim.sim import noise
from accelerate_sim.sim.layout import Layout
from accelerate_sim.sim.noise import Floats

RISE_AT_LIMIT_C = 44.0
"""Kelvins of the core over the inlet air at the power limit, air cooled: 0.063 C/W at 700 W."""
REAR_SLOT_RISE = 0.09
"""Extra thermal resistance of the rear row, whose inlet air the front row has heated."""
POWER_EXPONENT = 2.3
"""Dynamic power grows like the clock to this power: 0.84 of the GEMM rate at 500 instead of 700 W."""
PRODUCTS_OVER_MEAN = 1.4
"""Power demand of matrix products over the mean of a step, which also moves memory and waits.

With it an H100 that draws 600 of its 700 W runs at 1.8 GHz, and at its boost clock of 1.98 GHz where it draws 400 W. A
judgement: no log of clocks was measured.
"""
THROTTLE_MARGIN_C = 2.0
"""Kelvins below the slowdown temperature at which a throttled GPU settles."""


def clock_share(power_share: Floats | float) -> Floats:
    """Clock over its maximum when dynamic power is cut to this share."""
    return np.asarray(np.minimum(power_share, 1.0) ** (1.0 / POWER_EXPONENT))


@dataclass(frozen=True)
class Chips:
    """Constant properties of all GPUs; every array is [GPUs] in rank order."""

    gpu: GpuSpec
    power_gain: Floats
    resistance_gain: Floats
    inlet_c: Floats
    memory_draw: Floats
    """Standard normal deviate of each GPU's memory use."""
    utilization_draw: Floats

    @classmethod
    def of(cls, seed: int, gpu: GpuSpec, layout: Layout, ambient_c: float) -> "Chips":
        rank = np.arange(layout.world_size)
        own = noise.normal(seed, "gpu/chip", rank[:, None], np.arange(4))
        rear = layout.local_rank(rank) >= (layout.gpus_per_node + 1) // 2
        inlet = 1.4 * noise.normal(seed, "gpu/inlet", np.arange(layout.nodes))
        return cls(
            gpu, 1.0 + 0.022 * own[:, 0], (1.0 + 0.06 * own[:, 1]) * (1.0 + REAR_SLOT_RISE * (rear - 0.5)),
            ambient_c + inlet[layout.node(rank)], own[:, 2], own[:, 3],
        )  # fmt: skip

    def rise_c(self, power_w: Floats | float) -> Floats:
        """Kelvins of the core over the inlet air in equilibrium at this power."""
        return np.asarray(RISE_AT_LIMIT_C * power_w / self.gpu.power_limit_w * self.resistance_gain)

    def allowed_w(self, demand_w: float) -> Floats:
        """Power of each chip, within its limits, where the work demands ``demand_w`` of a mean one."""
        room_c = np.maximum(self.gpu.slowdown_temperature_c - THROTTLE_MARGIN_C - self.inlet_c, 1.0)
        coolable_w = room_c * self.gpu.power_limit_w / (RISE_AT_LIMIT_C * self.resistance_gain)
        return np.asarray(np.minimum(demand_w * self.power_gain, np.minimum(self.gpu.power_limit_w, coolable_w)))

    def clocks(self, demand_w: float) -> Floats:
        """Clock of each chip over its maximum, where the work demands ``demand_w`` of a mean chip."""
        dynamic_w = np.maximum(demand_w * self.power_gain - self.gpu.idle_w, 1.0)
        return clock_share(np.maximum(self.allowed_w(demand_w) - self.gpu.idle_w, 1.0) / dynamic_w)

    def shown_clocks(self, demand_w: float) -> Floats:
        """Clock of each chip over its boost clock as a driver samples it while the work demands ``demand_w``.

        It is cut by the power limit within matrix products, which the measured matrix rates hold already.
        """
        dynamic_w = np.maximum(PRODUCTS_OVER_MEAN * demand_w * self.power_gain - self.gpu.idle_w, 1.0)
        in_products = clock_share((self.gpu.power_limit_w - self.gpu.idle_w) / dynamic_w)
        return np.asarray(np.minimum(self.clocks(demand_w), in_products))

    def throttling(self, demand_w: float) -> float:
        """Permanent factor on the compute time of the slowest chip: 1 if none is slower than the middle chip.

        A power limit that all chips share is part of the measured matrix rates, so only what goes beyond the middle
        chip counts.
        """
        clocks = self.clocks(demand_w)
        usual = median(clock_share(_share_at_power_limit(self, demand_w)))
        return max(1.0, usual / float(clocks.min()))


def _share_at_power_limit(chips: Chips, demand_w: float) -> Floats:
    dynamic_w = np.maximum(demand_w * chips.power_gain - chips.gpu.idle_w, 1.0)
    return np.asarray(np.minimum(1.0, (chips.gpu.power_limit_w - chips.gpu.idle_w) / dynamic_w))
