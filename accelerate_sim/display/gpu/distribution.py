"""The GPU grid for jobs of many nodes: the distribution of each figure, and the worst GPUs."""

from dataclasses import replace

import numpy as np

from accelerate_sim.display.gpu.figures import (
    CRAWLING_SHARE,
    CRITICAL_SHARE,
    FULL_SHARE,
    HEALTH_COLORS,
    HOT_C,
    IDLE_PCT,
    LAZY_PCT,
    SLOW_SHARE,
    WARM_C,
    Figure,
    GpuFigures,
    figures_of,
)
from accelerate_sim.display.style import Style, columns
from accelerate_sim.records import Floats, GpuRecord
from accelerate_sim.records.median import median

NUM_WORST = 4
NO_TOPIC = -99.0
QUARTILES = ("min", "25%", "median", "75%", "max")
_LONG_NAMES = {"util": "utilization", "memory": "memory", "temp": "temperature", "power": "power"}
_DECIMALS = {"util": 0, "memory": 1, "temp": 1, "power": 0}
_RESOLUTION = {"util": 1.0, "memory": 2.0**-10, "temp": 0.1, "power": 0.1}
_HISTOGRAM_BINS = 24
_WIDE, _WITH_UNITS, _WITH_HISTOGRAM = 54, 68, 96
"""Widths in columns from which a line holds all quartiles, their unit, and a histogram."""


def distribution_lines(record: GpuRecord, figures: GpuFigures, room: int, style: Style, host: str) -> list[str]:
    """Minimum, quartiles and maximum of each figure over all GPUs, then the worst GPUs."""
    ordered = [np.sort(figure.values) for figure in figures.all()]
    last = len(record.utilization_pct) - 1
    quartiles = figures_of(_gpus_like(record, ordered, [round(part * last / 4) for part in range(5)]))
    lines = [_heading(room, style)]
    for figure, everyone in zip(quartiles.all(), ordered, strict=True):
        lines.append(_figure_line(figure, everyone, figures.total_gib, room, style))
    return lines + _worst_lines(record, figures, room, style, host)


def _gpus_like(record: GpuRecord, ordered: list[Floats], places: list[int]) -> GpuRecord:
    """A record of five made-up GPUs, each of which has one quartile of every figure."""
    util, gib, temp, power = (values[places] for values in ordered)
    return replace(
        record,
        utilization_pct=util,
        memory_used_bytes=np.rint(gib * 2**30).astype(np.int64),
        temperature_c=temp,
        power_w=power,
    )


def _shape(room: int) -> tuple[int, int, tuple[int, ...]]:
    """(columns of the name, columns of a value, quartiles that fit)."""
    if room >= _WIDE:
        return 11, 8, (0, 1, 2, 3, 4)
    return (6, 8, (0, 2, 4)) if room >= 30 else (6, 6, (2, 4))


def _heading(room: int, style: Style) -> str:
    name_width, value_width, picks = _shape(room)
    titles = "".join(f"{QUARTILES[pick][: value_width - 1]:>{value_width}}" for pick in picks)
    return style.line([(" " * name_width + titles, "dim")], room)


def _figure_line(values: Figure, everyone: Floats, total_gib: float, room: int, style: Style) -> str:
    name_width, value_width, picks = _shape(room)
    name = values.name
    pieces = [(f"{_LONG_NAMES[name] if room >= _WIDE else name:<{name_width}}", "")]
    for pick in picks:
        text = f"{values.values[pick]:.{_DECIMALS[name]}f}"
        pieces.append((" " * (value_width - len(text)), ""))
        pieces.append((text, HEALTH_COLORS[int(values.levels[pick])]))
    unit = {"util": "%", "memory": f"GiB of {total_gib:.1f}", "temp": style.glyph("celsius"), "power": "W"}[name]
    if room >= _WITH_HISTOGRAM:
        pieces += [(f"  {unit:<12}  ", "dim"), (_histogram(everyone, _RESOLUTION[name], style), "cyan")]
    elif room >= _WITH_UNITS:
        pieces.append(("  " + unit, "dim"))
    return style.line(pieces, room)


def _histogram(ordered: Floats, resolution: float, style: Style) -> str:
    """A histogram of the GPUs from the minimum to the maximum; a bin with one GPU is visible."""
    low, high = float(ordered[0]), float(ordered[-1])
    bins = int(min(_HISTOGRAM_BINS, round((high - low) / resolution) + 1))
    # Few distinct values get a bar each, in the middle of its bin.
    margin = (high - low) / (bins - 1) / 2 if 1 < bins < _HISTOGRAM_BINS else 0.0
    edges = np.linspace(low - margin, high + margin, bins + 1)[1:-1]
    counts = np.diff(np.searchsorted(ordered, edges), prepend=0, append=len(ordered))
    heights = style.glyph("heights")
    steps = np.ceil(counts * (len(heights) / counts.max())).astype(int).tolist()
    return "".join(heights[step - 1] if step else " " for step in steps).rstrip()


# --- The worst ----------------------------------------------------------------------------------


def _worst_lines(record: GpuRecord, figures: GpuFigures, room: int, style: Style, host: str) -> list[str]:
    host, last = style.text(host), len(record.utilization_pct) - 1
    rank_width = len(str(last))
    name_width = columns(host) + len(str(last // record.gpus_per_node))
    local_width = len(str(record.gpus_per_node - 1))
    lines = []
    for number, (gpu, figure) in enumerate(_worst(record, figures)):
        node, local = divmod(gpu, record.gpus_per_node)
        name = f"{host}{node}"
        why = (_why(record, figures, figure, gpu, style), HEALTH_COLORS[int(figure.levels[gpu])])
        if room >= _WITH_UNITS:
            title = f"{'' if number else 'worst':<14}"
            gap = " " * (name_width - columns(name) + 2)
            where = f"rank {gpu:>{rank_width}}  {name}{gap}GPU {local:>{local_width}}  "
            lines.append(style.line([(title, ""), (where, "bold"), why], room))
        else:
            lines.append(style.line([(f"rank {gpu} ", "bold"), (f"{name}:{local} ", ""), why], room))
    return lines


def _worst(record: GpuRecord, figures: GpuFigures) -> list[tuple[int, Figure]]:
    """The worst GPUs, each with its worst figure, taken from all kinds of figure so that no kind hides another."""
    found: dict[int, tuple[float, Figure]] = {}
    for figure in (*figures.all(), figures.clock):
        for gpu in _two_highest(-figure.values if figure.name in ("util", "clock") else figure.values):
            badness = _badness(record, figures, figure, gpu)
            if badness > found.get(gpu, (NO_TOPIC, figure))[0]:
                found[gpu] = badness, figure
    ordered = sorted(found.items(), key=lambda item: (-item[1][0], item[0]))
    return [(gpu, figure) for gpu, (_, figure) in ordered[:NUM_WORST]]


def _two_highest(values: Floats) -> list[int]:
    first = int(values.argmax())
    rest = [
        int(part.argmax()) + start
        for part, start in ((values[:first], 0), (values[first + 1 :], first + 1))
        if len(part)
    ]
    return [first, *sorted(rest, key=lambda index: -values[index])[:1]]


def _badness(record: GpuRecord, figures: GpuFigures, figure: Figure, gpu: int) -> float:
    """Badness of a GPU's figure: 0 where yellow begins, 1 where red begins."""
    value = float(figure.values[gpu])
    if figure.name == "temp":
        return (value - record.slowdown_temperature_c + WARM_C) / (WARM_C - HOT_C)
    if figure.name == "util":
        return (LAZY_PCT - value) / (LAZY_PCT - IDLE_PCT)
    if figure.name == "clock":
        share = value / median(figure.values)
        return (SLOW_SHARE - share) / (SLOW_SHARE - CRAWLING_SHARE) if share < SLOW_SHARE else NO_TOPIC
    if figure.name == "memory":
        return (value / figures.total_gib - FULL_SHARE) / (CRITICAL_SHARE - FULL_SHARE)
    # Boards exceed their power limit for moments: above it power counts as just red, below it not at all.
    return value / record.power_limit_w if value > record.power_limit_w else NO_TOPIC


def _why(record: GpuRecord, figures: GpuFigures, figure: Figure, gpu: int, style: Style) -> str:
    value = float(figure.values[gpu])
    if figure.name == "temp":
        below = record.slowdown_temperature_c - value
        text = f"{value:.1f}{style.glyph('celsius')}, "
        return text + (f"{below:.1f} below slowdown" if below > 0 else "slowing down")
    if figure.name == "memory":
        return f"{value:.1f} GiB, {figures.total_gib - value:.1f} free"
    if figure.name == "clock":
        return f"{value:,.0f} MHz, median {median(figure.values):,.0f}"
    if figure.name == "power":
        return f"{value:.0f} W, limit {record.power_limit_w:.0f}"
    return f"{value:.0f}% util, mean {figures.util.values.mean():.0f}%"
