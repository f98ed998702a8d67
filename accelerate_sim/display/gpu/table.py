"""The GPU grid, in the form that suits the width of the terminal and the size of the job.

From 120 columns on, a GPU has a full cell; from 80 on, a row of GPUs has two short lines; below, a node has one line.
A job of many nodes gets its distribution and its worst GPUs instead (``distribution.py``). No line is wider than
``width - 1`` columns: a full last column makes some terminals wrap.
"""

from collections.abc import Iterator

import numpy as np

from accelerate_sim.config.host_names import listed_hosts
from accelerate_sim.display.gpu.distribution import distribution_lines
from accelerate_sim.display.gpu.figures import HEALTH_COLORS, GpuFigures, figures_of, written
from accelerate_sim.display.gpu.grid import Digits, Grid, grid_of
from accelerate_sim.display.gpu.nodes import node_lines
from accelerate_sim.display.style import Style, columns, cut, padded
from accelerate_sim.display.units import si_text
from accelerate_sim.records import GpuRecord

FULL_WIDTH, COMPACT_WIDTH = 120, 80
MAX_NODES, MAX_GPUS = 16, 512
"""Jobs with more nodes or more GPUs than this get distributions instead of a grid."""


def gpu_table(record: GpuRecord, width: int, style: Style, host: str = "node") -> list[str]:
    """The lines of the grid for a terminal ``width`` columns wide. Nodes are called ``host`` and their number."""
    room = max(1, width - 1)
    figures = figures_of(record)
    num_gpus, per_node = len(record.utilization_pct), record.gpus_per_node
    num_nodes = -(-num_gpus // per_node)
    header = _header(record, figures, num_nodes, room, style)
    if num_nodes > MAX_NODES or num_gpus > MAX_GPUS:
        return [header, *distribution_lines(record, figures, room, style, host)]
    names = _node_names(host, num_nodes, room, style)
    if width < COMPACT_WIDTH:
        return [header, *node_lines(record, figures, names, room, style)]
    grid = grid_of(num_gpus, per_node, names, room, style, width >= FULL_WIDTH, _digits(record, figures))
    return [header, *_grid_lines(grid, figures, style)]


def _header(record: GpuRecord, figures: GpuFigures, num_nodes: int, room: int, style: Style) -> str:
    """Totals of all GPUs; those without room are left out, the least important first."""
    num_gpus, temp = len(record.utilization_pct), figures.temp.values
    gpus = f"{num_gpus:,} GPU{'s' * (num_gpus > 1)}"
    nodes = f" on {num_nodes:,} nodes" if num_nodes > 1 and room >= FULL_WIDTH - 1 else ""
    facts = [
        (gpus + nodes, "bold cyan"),
        (f"step {record.step}", ""),
        *_alerts(figures),
        (f"util {record.utilization_pct.mean():.1f}%", ""),
        (si_text(float(record.power_w.sum()), "W", 2), ""),
        (f"mem {figures.memory.values.max():.1f}/{figures.total_gib:.1f} GiB", ""),
        (f"{temp.min():.0f}{style.glyph('to')}{temp.max():.0f}{style.glyph('celsius')}", ""),
    ]
    used, pieces = len(facts[0][0]), facts[:1]
    for text, color in facts[1:]:
        used += 3 + len(text)
        if used > room:
            break
        pieces += [(f" {style.glyph('dot')} ", "dim"), (text, color)]
    return style.line(pieces, room)


def _alerts(figures: GpuFigures) -> Iterator[tuple[str, str]]:
    """The number of yellow and red GPUs, in the colour of the worst; nothing if there are none."""
    levels = figures.alert_levels()
    count = int(np.count_nonzero(levels))
    if count:
        yield f"{count:,} alert{'s' * (count > 1)}", HEALTH_COLORS[int(levels.max())]


def _node_names(host: str, num_nodes: int, room: int, style: Style) -> tuple[str, ...]:
    """Node names of one width; a long host name keeps its beginning and the number, by which nodes differ."""
    limit = max(6, room // 11)
    if names := listed_hosts(host):
        shown = [style.text(name) for name in names[:num_nodes]]
        short = [name if columns(name) <= limit else name[-limit:] for name in shown]  # nodes differ in the end
        return tuple(padded(name, max(map(columns, short))) for name in short)
    digits = len(str(num_nodes - 1))
    stem = cut(style.text(host), limit - digits, style)
    width = columns(stem) + digits
    return tuple(padded(f"{stem}{node}", width) for node in range(num_nodes))


def _digits(record: GpuRecord, figures: GpuFigures) -> Digits:
    """Columns of each figure: the usual number, so that grids look alike, or more if a value needs it."""

    def widest(*values: float, decimals: int = 0) -> int:
        return max(len(f"{value:.{decimals}f}") for value in values)

    util, memory, temp, power = (figure.values for figure in figures.all())
    most_gib = max(figures.total_gib, float(memory.max()))
    return Digits(
        total_gib=figures.total_gib,
        util=widest(100.0, float(util.max())),
        memory=widest(most_gib),
        memory_tenths=widest(most_gib, decimals=1),
        temp=widest(99.0, float(temp.max()), float(temp.min())),
        power=widest(record.power_limit_w, float(power.max())),
    )


def _grid_lines(grid: Grid, figures: GpuFigures, style: Style) -> list[str]:
    by_name = {figure.name: figure for figure in figures.all()}
    rows = []
    for row in grid.form.rows:
        columns_of_row = (written(by_name[name], form, style) for name, form in row)
        rows.append(list(map(grid.form.gap.join, zip(*columns_of_row, strict=True))))
    join = grid.separator.join
    return [label + join(rows[row][start:stop]) for label, row, start, stop in grid.lines]
