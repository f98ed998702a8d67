"""Pictures of the cluster: temperature and power of every GPU, the fullest memory, and the timeline of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from accelerate_sim.report.drawing import BLUE, GREEN, INK, MUTED, ORANGE, RED, SERIES, Picture, legend
from accelerate_sim.report.history import Event, RunHistory

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLUMNS = 240
"""Columns of a heat map; looks that are closer together are averaged."""
SPREAD = ("min", "p25", "p50", "p75", "max")


def has_every_gpu(history: RunHistory) -> bool:
    """True if the looks hold the figures of single GPUs, not only their spread."""
    return bool(history.looks) and isinstance(history.looks[0]["power_w"], list)


def heat_picture(history: RunHistory, name: str, title: str, colors: str) -> str:
    """One figure of every GPU over time: rows are GPUs, or with a large cluster its spread."""
    looks = [look for look in history.looks if look["elapsed_s"] >= 0.0]
    hours = np.array([look["elapsed_s"] for look in looks]) / 3600.0
    picture = Picture(name.replace("_", ""), 2.9)
    axes = picture.axes
    axes.set_xlabel("hours since the first step")
    if not has_every_gpu(history):
        for quantile, color in zip(SPREAD, SERIES, strict=False):
            axes.plot(hours, [look[name][quantile] for look in looks], color=color, label=quantile, linewidth=0.8)
        axes.set_ylabel(title)
        legend(axes, ncols=len(SPREAD))
        return picture.svg()
    table = np.array([look[name] for look in looks], float)
    grid, end_h = _resampled(table, hours)
    axes.grid(visible=False)
    image = axes.imshow(
        grid.T, aspect="auto", cmap=colors, interpolation="nearest", extent=(0.0, end_h, table.shape[1] - 0.5, -0.5)
    )
    axes.set_ylabel("rank")
    bar = picture.figure.colorbar(image, ax=axes, pad=0.02)
    bar.set_label(title, color=MUTED)
    bar.outline.set_visible(False)
    return picture.svg()


def _resampled(table: NDArray[np.float64], hours: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """[looks, GPUs] at even times: [columns, GPUs], and the hours at its end."""
    end_h = float(hours[-1]) or 1.0
    count = min(COLUMNS, len(hours))
    at = np.clip(np.searchsorted(hours, (np.arange(count) + 0.5) * end_h / count), 0, len(hours) - 1)
    return table[at], end_h


def memory_picture(history: RunHistory) -> str:
    """Memory of the fullest GPU in GiB over time, and what a GPU has."""
    looks = [look for look in history.looks if look["elapsed_s"] >= 0.0]
    hours = [look["elapsed_s"] / 3600.0 for look in looks]
    picture = Picture("memory", 2.3)
    axes = picture.axes
    axes.plot(hours, [_fullest(look) / 2**30 for look in looks], color=BLUE, label="fullest GPU")
    axes.axhline(
        history.run.gpu.memory_bytes / 2**30, color=RED, linestyle="--", linewidth=0.8, label="memory of a GPU"
    )
    axes.set_ylim(bottom=0.0)
    axes.set_ylabel("GiB")
    axes.set_xlabel("hours since the first step")
    legend(axes, loc="lower right")
    return picture.svg()


def _fullest(look: Event) -> float:
    figures = look["memory_used_bytes"]
    return float(max(figures) if isinstance(figures, list) else figures["max"])


def timeline_picture(history: RunHistory) -> str:
    """The attempts of the run, and its checkpoints, validations, warnings and faults, over time."""
    picture = Picture("timeline", 2.3)
    axes = picture.axes
    hours, attempts = history.elapsed_h, history.attempts
    for attempt in np.unique(attempts):
        of = hours[attempts == attempt]
        axes.barh(0, of[-1] - of[0], left=of[0], height=0.5, color=SERIES[attempt % len(SERIES)], alpha=0.6)
        axes.text(of[0], 0.0, f" attempt {attempt + 1}", va="center", fontsize=8.0, color=INK)
    rows = {
        "checkpoints": ([history.hours_of(each["step"]) for each in history.checkpoints], GREEN, "|"),
        "validations": ([history.hours_of(each["step"]) for each in history.validations], BLUE, "|"),
        "warnings": ([history.hours_of(each["step"]) for each in history.warnings], ORANGE, "v"),
        "faults": ([each["elapsed"] / 3600.0 for each in fault_begins(history)], RED, "X"),
    }
    for row, (at, color, marker) in enumerate(rows.values(), start=1):
        axes.plot(at, [row] * len(at), linestyle="", marker=marker, color=color, markersize=7)
    axes.set_yticks(range(len(rows) + 1), ["training", *rows])
    axes.set_ylim(len(rows) + 0.6, -0.6)
    axes.set_xlabel("hours since the first step")
    return picture.svg()


def fault_begins(history: RunHistory) -> list[Event]:
    """The moments at which faults began."""
    return [each for each in history.faults if each.get("state") == "begin" and each.get("elapsed") is not None]
