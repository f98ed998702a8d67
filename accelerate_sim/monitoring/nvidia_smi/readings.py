"""Quantities that several outputs derive from a GPU's reading."""

from __future__ import annotations

import math

from accelerate_sim.monitoring.nvidia_smi.reading import Gpu


def min_power_w(gpu: Gpu) -> float:
    """The lowest power limit that can be set: on most boards two sevenths of the default."""
    return round(gpu.power_limit_w * 2 / 7 / 50) * 50.0


def video_clock_mhz(clock_mhz: int) -> int:
    """Clock of the video engines: about 0.78 of the SM clock (1,545 of 1,980 MHz on an H100)."""
    return round(clock_mhz * 0.78 / 15) * 15


def averages_power(gpu: Gpu) -> bool:
    """True for boards that report a mean over a second: Ampere and later, but not the GA100 of the A100."""
    return gpu.board.architecture != "Volta" and gpu.board.compute_capability != "8.0"


def has_margin(gpu: Gpu) -> bool:
    """True where the distance to the thermal limit is reported: from Hopper on, and on Ada from driver 570 on."""
    return gpu.board.has_temperature_margin or (gpu.board.architecture == "Ada Lovelace" and gpu.branch >= 570)


def has_memory_sensor(gpu: Gpu) -> bool:
    """True for boards with stacked memory (HBM), which has a thermometer."""
    return gpu.board.has_ecc and gpu.board.architecture != "Ada Lovelace"


def is_on_fabric(gpu: Gpu) -> bool:
    """True for boards that register with the fabric manager: from Hopper on, with NVLink."""
    return gpu.board.architecture in ("Hopper", "Blackwell") and gpu.nvlinks > 0


def has_sparsity_mode(gpu: Gpu) -> bool:
    """True for data-centre boards from Hopper on, whose driver can be set for sparse operation."""
    return gpu.board.has_ecc and gpu.board.architecture in ("Hopper", "Blackwell")


def memory_power_w(gpu: Gpu) -> float:
    """Power of the memory stacks of a Hopper board: 42 W of 700 W when idle, about 110 W in dense training."""
    return gpu.power_limit_w * (0.06 + 0.12 * math.sqrt(gpu.memory_utilization_pct / 100))


def is_volta(gpu: Gpu) -> bool:
    """True for boards that count errors by cache, and retire pages in place of rows."""
    return gpu.board.architecture == "Volta"


def banks(gpu: Gpu) -> tuple[int, int, int, int, int]:
    """Banks by the spare rows that they have left: all, many, some, few, none.

    A bank has eight spare rows; each remapped row is taken to be in a bank of its own.
    """
    used = min(gpu.health.remapped_correctable + gpu.health.remapped_uncorrectable, gpu.board.remap_banks)
    return gpu.board.remap_banks - used, used, 0, 0, 0
