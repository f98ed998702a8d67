"""The report of ``--plan``: everything that follows from a config before a step is made, with the arithmetic shown."""

import re
import textwrap
from collections.abc import Iterator

from accelerate_sim.display.plan.expected_failures import faults_section
from accelerate_sim.display.plan.rows import Fact, Part, Section
from accelerate_sim.display.plan.sections import sections_of
from accelerate_sim.display.plan.whole_run import whole_run_section
from accelerate_sim.display.style import Style, columns, cut, padded
from accelerate_sim.sim.run import Run

LABEL_WIDTH, NARROW_LABEL_WIDTH = 18, 15
BAR_WIDTH = 24
NO_BREAK_SPACE = "\u00a0"
_BETWEEN_NUMBER_AND_UNIT = re.compile(r"(?<=\d) (?=(?:[mµn]?s|[kMGT]?Wh?|[kMGTP]?i?B|\w?FLOP\S*|tokens/s)\b)")


def plan_report(run: Run, width: int, style: Style) -> list[str]:
    """The report for ``width`` columns, 40 or more; no line is wider than ``width - 1``."""
    room = max(LABEL_WIDTH, width - 1)
    layout = run.layout
    nodes = f"{layout.nodes:,} node{'s' * (layout.nodes > 1)} of {layout.gpus_per_node}"
    title = style.text(f"{run.model.title} on {layout.world_size:,} × {run.gpu.product}, {nodes}")
    lines = [style.line([(title, "bold")], room)]
    for heading, rows in [*sections_of(run), whole_run_section(run), faults_section(run), *_played(run)]:
        lines += ["", style.line([(style.text(heading), "cyan")], room)]
        figure_width = max((columns(row.figure) for row in rows if isinstance(row, Part)), default=0)
        for row in rows:
            if isinstance(row, Part):
                lines.append(_part_line(row, figure_width, room, style))
            else:
                lines += _fact_lines(row, room, style)
    return lines


def _played(run: Run) -> Iterator[Section]:
    """The section on faults that happen, for a run that has any."""
    faults = run.config.faults
    if faults.play or (faults.drawn == "play" and faults.rate):
        from accelerate_sim.display.plan.played_faults import played_section

        yield played_section(run)


def _fact_lines(fact: Fact, room: int, style: Style) -> Iterator[str]:
    label_width = LABEL_WIDTH if room >= 60 else NARROW_LABEL_WIDTH
    label = _label(fact.label, label_width, style)
    kept_together = _BETWEEN_NUMBER_AND_UNIT.sub(NO_BREAK_SPACE, fact.text)
    for text in textwrap.wrap(kept_together, max(1, room - columns(label)), break_on_hyphens=False):
        yield style.line([(label, "dim"), (style.text(text.replace(NO_BREAK_SPACE, " ")), fact.color)], room)
        label = " " * columns(label)


def _part_line(part: Part, figure_width: int, room: int, style: Style) -> str:
    label = _label(part.label, LABEL_WIDTH, style)
    figures = f"{style.text(part.figure):>{figure_width}}  {part.share:>6.1%}"
    bar = style.bar(part.share, min(BAR_WIDTH, room - columns(label) - columns(figures) - 2))
    return style.line([(label, "dim"), (figures, ""), (f"  {bar}" if bar else "", "green")], room)


def _label(text: str, width: int, style: Style) -> str:
    return "  " + padded(cut(style.text(text), width, style), width) + "  "
