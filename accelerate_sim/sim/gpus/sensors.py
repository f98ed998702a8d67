"""Readings of a GPU that follow from other readings, as arrays or single numbers, rounded as by the driver."""

from typing import Any

import numpy as np

from accelerate_sim.catalog import GpuSpec

TRAFFIC_SHARE = 0.62
"""Share of the time with kernels in which memory is busy at full power, as in dense training."""


def memory_busy_share(gpu: GpuSpec, utilization_pct: Any, power_w: Any) -> Any:
    """Share of the time in which the memory is read or written, 0..1."""
    load = (power_w - gpu.idle_w) / (gpu.power_limit_w - gpu.idle_w)
    return utilization_pct / 100 * TRAFFIC_SHARE * np.clip(load, 0.0, 1.0)


def memory_utilization_pct(gpu: GpuSpec, utilization_pct: Any, power_w: Any) -> Any:
    """Share of the time in which the memory is read or written, in whole per cent."""
    return np.round(100 * memory_busy_share(gpu, utilization_pct, power_w)).astype(int)


def memory_temperature_c(gpu: GpuSpec, temperature_c: Any, power_w: Any) -> Any:
    """Temperature of the memory stacks, which are cooler than the die when idle and warmer under load."""
    return np.round(temperature_c - 3.0 + 13.0 * power_w / gpu.power_limit_w).astype(int)
