"""Pictures of the cluster: temperature and power of every GPU, the fullest memory, and the timeline of the run."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from accelerate_sim.report.drawing import BLUE, GREEN, INK, MUTED, ORANGE, RED, SERIES, Picture, legend, whole_numbers
from accelerate_sim.report.history import Event, RunHistory

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLUMNS = 240
"""Columns of a heat map; looks that are closer together are averaged."""
LABELLED = 0.03
"""Share of the timeline that an attempt takes at the least to have its number on it."""
SPREAD = ("min", "p25", "p50", "p75", "max")


def has_every_gpu(history: RunHistory) -> bool:
    """True if the looks hold the figures of single GPUs, not only their spread."""
    return bool(history.looks) and isinstance(history.looks[0]["power_w"], list)


def heat_picture(history: RunHistory, name: str, title: str, colors: str) -> str:
    """One figure of every GPU over time: rows are GPUs, or with a large cluster its spread."""
    looks = [look for look in history.looks if look["elapsed_s"] >= 0.0]
    time = np.array([look["elapsed_s"] for look in looks]) / 3600.0 * history.unit.per_hour
    picture = Picture(name.replace("_", ""), 2.9)
    axes = picture.axes
    axes.set_xlabel(history.time_label)
    if not has_every_gpu(history):
        for quantile, color in zip(SPREAD, SERIES, strict=False):
            values = [look[name][quantile] for look in looks]
            axes.plot(time, values, color=color, label=quantile, linewidth=0.8, marker=".", markersize=3)
        axes.set_ylabel(title)
        legend(axes, ncols=len(SPREAD))
        return picture.svg()
    table = np.array([look[name] for look in looks], float)
    grid, end = _resampled(table, time, history.spans_h * history.unit.per_hour)
    axes.grid(visible=False)
    image = axes.imshow(
        grid.T,
        aspect="auto",
        cmap=colors,
        vmin=table.min(),
        vmax=table.max(),
        interpolation="nearest",
        extent=(0.0, end, table.shape[1] - 0.5, -0.5),
    )
    axes.set_ylabel("rank")
    whole_numbers(axes.yaxis)
    bar = picture.figure.colorbar(image, ax=axes, pad=0.02)
    bar.set_label(title, color=MUTED)
    bar.outline.set_visible(False)
    return picture.svg()


def _resampled(
    table: NDArray[np.float64], time: NDArray[np.float64], spans: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """[looks, GPUs] at even times: [columns, GPUs], NaN while no attempt is under way, and the time at its end."""
    end = float(time[-1]) or 1.0
    count = COLUMNS if len(spans) > 1 else min(COLUMNS, len(time))  # narrow ones, for short attempts and gaps
    columns = (np.arange(count) + 0.5) * end / count
    grid = table[np.clip(np.searchsorted(time, columns), 0, len(time) - 1)]
    for (_, stopped), (begun, _) in pairwise(spans):
        grid[(columns > stopped) & (columns < begun)] = np.nan
    return grid, end


def memory_picture(history: RunHistory) -> str:
    """Memory of the fullest GPU in GiB over time, and what a GPU has."""
    looks = [look for look in history.looks if look["elapsed_s"] >= 0.0]
    time = [look["elapsed_s"] / 3600.0 * history.unit.per_hour for look in looks]
    picture = Picture("memory", 2.3)
    axes = picture.axes
    axes.plot(time, [_fullest(look) / 2**30 for look in looks], color=BLUE, label="fullest GPU")
    axes.axhline(
        history.run.gpu.memory_bytes / 2**30, color=RED, linestyle="--", linewidth=0.8, label="memory of a GPU"
    )
    axes.set_ylim(bottom=0.0)
    axes.set_ylabel("GiB")
    axes.set_xlabel(history.time_label)
    legend(axes)
    return picture.svg()


def _fullest(look: Event) -> float:
    figures = look["memory_used_bytes"]
    return float(max(figures) if isinstance(figures, list) else figures["max"])


def timeline_picture(history: RunHistory) -> str:
    """The attempts of the run, and its checkpoints, validations, warnings and faults, over time."""
    picture = Picture("timeline", 2.3)
    axes = picture.axes
    spans = history.spans_h * history.unit.per_hour
    end = float(spans[-1, 1])
    for place, (begun, stopped) in enumerate(spans):
        color = SERIES[place % len(SERIES)]
        axes.barh(0, stopped - begun, left=begun, height=0.5, color=color, edgecolor=color, alpha=0.6)
        if len(spans) > 1 and stopped - begun > LABELLED * end:
            axes.text((begun + stopped) / 2.0, 0.0, str(place + 1), ha="center", va="center", fontsize=8.0, color=INK)
    rows = {
        "checkpoints": ([_moment_h(history, each) for each in history.checkpoints], GREEN, "|"),
        "validations": ([_moment_h(history, each) for each in history.validations], BLUE, "|"),
        "warnings": ([_moment_h(history, each) for each in history.warnings], ORANGE, "v"),
        "faults": ([each["elapsed"] / 3600.0 for each in fault_begins(history)], RED, "X"),
    }
    for row, (hours, color, marker) in enumerate(rows.values(), start=1):
        time = np.array(hours, float) * history.unit.per_hour
        axes.plot(time, np.full(len(time), row), linestyle="", marker=marker, color=color, markersize=7)
    axes.set_yticks(range(len(rows) + 1), ["attempts" if len(spans) > 1 else "training", *rows])
    axes.set_ylim(len(rows) + 0.6, -0.6)
    axes.set_xlim(left=min(0.0, axes.get_xlim()[0]))
    axes.set_xlabel(history.time_label)
    return picture.svg()


def _moment_h(history: RunHistory, event: Event) -> float:
    """Hours at which the step was made that a checkpoint, a validation or a warning belongs to."""
    return history.hours_of(int(event["step"]), int(event.get("attempt") or 0))


def fault_begins(history: RunHistory) -> list[Event]:
    """The moments at which faults began."""
    return [each for each in history.faults if each.get("state") == "begin" and each.get("elapsed") is not None]
