"""The GPU grid for narrow terminals: one line per node."""

from dataclasses import dataclass

import numpy as np

from accelerate_sim.display.gpu.figures import HEALTH_COLORS, IDLE_PCT, LAZY_PCT, GpuFigures
from accelerate_sim.display.style import Style, columns
from accelerate_sim.records import GpuRecord


@dataclass(frozen=True, slots=True)
class _Nodes:
    """Figures of the nodes, and the level of each figure of each node."""

    util_pct: list[float]
    most_gib: list[float]
    coolest_c: list[float]
    hottest_c: list[float]
    power_kw: list[float]
    levels: list[list[int]]


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    texts: list[str]
    levels: list[int]

    @property
    def width(self) -> int:
        # Degree sign and dash, the only characters beyond ASCII, take one column each.
        return max(map(len, [self.title, *self.texts]))

    def painted(self, node: int, width: int, style: Style) -> str:
        text = self.texts[node]
        return " " * (width - len(text)) + style.paint(text, HEALTH_COLORS[self.levels[node]])


def node_lines(record: GpuRecord, figures: GpuFigures, names: tuple[str, ...], room: int, style: Style) -> list[str]:
    """Per node: mean utilization, largest memory, range of temperatures, power. Columns without room are left out."""
    name_width = columns(names[0])
    chosen, gap = _fitting(record, figures, room - name_width, style)
    lines = []
    if any(column.title for column in chosen):
        heading = " " * name_width + "".join(" " * gap + f"{column.title:>{column.width}}" for column in chosen)
        lines.append(style.paint(heading, "dim"))
    for node, name in enumerate(names):
        if name_width + sum(gap + column.width for column in chosen) > room:
            lines.append(style.line([(name, "bold")], room))
            continue
        cells = (column.painted(node, gap + column.width, style) for column in chosen)
        lines.append(style.paint(name, "bold") + "".join(cells))
    return lines


def _fitting(record: GpuRecord, figures: GpuFigures, room: int, style: Style) -> tuple[list[_Column], int]:
    """The columns that fit into ``room``, and the gap before each."""
    nodes = _nodes(record, figures)
    for brief in (False, True):
        all_columns = _columns(nodes, figures.total_gib, style, brief)
        needed = sum(column.width for column in all_columns)
        for gap in (2, 1) if brief else (3, 2):
            if needed + gap * len(all_columns) <= room:
                return all_columns, gap
    util, _, temp, power = all_columns
    narrow = ([util, temp, power], [util, temp], [util])
    return next((few for few in narrow if sum(1 + column.width for column in few) <= room), []), 1


def _nodes(record: GpuRecord, figures: GpuFigures) -> _Nodes:
    starts = np.arange(0, len(record.utilization_pct), record.gpus_per_node)
    sizes = np.diff(starts, append=len(record.utilization_pct))
    util, memory, temp, power = figures.all()
    most = np.maximum.reduceat
    mean_util = (np.add.reduceat(util.values, starts) / sizes).tolist()
    return _Nodes(
        mean_util,
        most(memory.values, starts).tolist(),
        np.minimum.reduceat(temp.values, starts).tolist(),
        most(temp.values, starts).tolist(),
        (np.add.reduceat(power.values, starts) / 1000).tolist(),
        [
            [(mean < LAZY_PCT) + (mean < IDLE_PCT) for mean in mean_util],
            *(most(figure.levels, starts).tolist() for figure in (memory, temp, power)),
        ],
    )


def _columns(nodes: _Nodes, total_gib: float, style: Style, brief: bool) -> list[_Column]:
    """Texts of each node for utilization, memory, temperature and power."""
    to, degree = style.glyph("to"), style.glyph("degree" if brief else "celsius")
    ranges = zip(nodes.coolest_c, nodes.hottest_c, strict=True)
    titles = ("", "", "", "") if brief else ("util", "max memory", "temp", "power")
    texts = (
        [f"{mean:.0f}%" if brief else f"{mean:.1f}%" for mean in nodes.util_pct],
        [f"{gib:.0f}/{total_gib:.0f}G" if brief else f"{gib:.1f}/{total_gib:.1f} GiB" for gib in nodes.most_gib],
        [f"{low:.0f}{to}{high:.0f}{degree}" for low, high in ranges],
        [f"{power:.1f}kW" if brief else f"{power:.2f} kW" for power in nodes.power_kw],
    )
    return [_Column(*column) for column in zip(titles, texts, nodes.levels, strict=True)]
