"""The figures of every GPU, rounded, rated by health, and formatted through a cache."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from accelerate_sim.display.style import Style
from accelerate_sim.records import Floats, GpuRecord
from accelerate_sim.records.median import median

HEALTH_COLORS = ("green", "yellow", "red")
WARM_C, HOT_C = 6.0, 2.0
"""Kelvins below the slowdown temperature from which a GPU is yellow, and red."""
FULL_SHARE, CRITICAL_SHARE = 0.93, 0.98
LAZY_PCT, IDLE_PCT = 85.0, 60.0
SLOW_SHARE, CRAWLING_SHARE = 0.96, 0.85
"""Shares of the median clock below which a GPU is yellow, and red."""

Levels = NDArray[np.int8]
"""Per GPU 0 (green), 1 (yellow) or 2 (red)."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One quantity of all GPUs, in %, GiB, degrees Celsius or W, and its health."""

    name: str
    values: Floats
    levels: Levels


@dataclass(frozen=True, slots=True)
class GpuFigures:
    """All quantities of all GPUs."""

    util: Figure
    memory: Figure
    temp: Figure
    power: Figure
    clock: Figure
    """SM clock in MHz. It has no row of its own, but a slow GPU is rated by it."""
    total_gib: float

    def all(self) -> tuple[Figure, Figure, Figure, Figure]:
        """The figures that are shown for every GPU."""
        return self.util, self.memory, self.temp, self.power

    def alert_levels(self) -> Levels:
        """The level of the worst figure of each GPU.

        Memory counts only if it is red, because a job that fills its GPUs is healthy.
        """
        full = np.where(self.memory.levels == 2, self.memory.levels, 0).astype(np.int8)
        return np.maximum(np.maximum(self.util.levels, self.power.levels), np.maximum(self.temp.levels, full))


def figures_of(record: GpuRecord) -> GpuFigures:
    """Convert the record to %, GiB, degrees Celsius and W, and rate each figure."""
    util, used = record.utilization_pct, record.memory_used_bytes
    temp, power = record.temperature_c, record.power_w
    slowdown, total = record.slowdown_temperature_c, record.memory_total_bytes
    clock = record.sm_clock_mhz
    usual_mhz = median(clock)
    above_limit = power > record.power_limit_w
    return GpuFigures(
        Figure("util", util, _levels(util < LAZY_PCT, util < IDLE_PCT)),
        Figure(
            "memory",
            np.asarray(used * 2.0**-30, np.float64),
            _levels(used >= FULL_SHARE * total, used >= CRITICAL_SHARE * total),
        ),
        Figure("temp", temp, _levels(temp >= slowdown - WARM_C, temp >= slowdown - HOT_C)),
        Figure("power", power, _levels(above_limit, above_limit)),
        Figure("clock", clock, _levels(clock < SLOW_SHARE * usual_mhz, clock < CRAWLING_SHARE * usual_mhz)),
        total / 2**30,
    )


def _levels(yellow: NDArray[np.bool_], red: NDArray[np.bool_]) -> Levels:
    return yellow.view(np.int8) + red.view(np.int8)


@dataclass(frozen=True, slots=True)
class Form:
    """The format of a figure: right-aligned in ``width`` columns with its unit, then a dim ``suffix``."""

    width: int
    decimals: int
    unit: str
    suffix: str = ""

    @property
    def columns(self) -> int:
        return self.width + len(self.suffix)


class _Texts(dict[int, str]):
    """Painted text by rounded value and level, made when it is first needed."""

    def __init__(self, form: Form, style: Style) -> None:
        self._form, self._style = form, style

    def __missing__(self, key: int) -> str:
        form, style = self._form, self._style
        value, level = key // 4 / 10**form.decimals, key % 4
        text = f"{value:.{form.decimals}f}{form.unit}"
        pad = " " * (form.width - len(text))
        self[key] = pad + style.paint(text, HEALTH_COLORS[level]) + style.paint(form.suffix, "dim")
        return self[key]


@lru_cache(maxsize=64)
def _texts(form: Form, style: Style) -> _Texts:
    return _Texts(form, style)


def written(figure: Figure, form: Form, style: Style) -> list[str]:
    """The figure of every GPU as painted text of ``form.columns`` columns."""
    scaled = np.rint(figure.values * 10**form.decimals if form.decimals else figure.values)
    keys = (scaled * 4 + figure.levels).astype(np.int64).tolist()
    return list(map(_texts(form, style).__getitem__, keys))
