"""The panels of the dashboard, each as text in a box of a given size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from rich.console import Console, ConsoleOptions
from rich.segment import Segment
from rich.style import Style as TextStyle
from rich.text import Text

from accelerate_sim.dashboard.history import History
from accelerate_sim.dashboard.plots import cells, curve, pooled, strip
from accelerate_sim.display.style import Style, columns
from accelerate_sim.display.units import bytes_text, count_text, duration_text, mfu_text, si_text
from accelerate_sim.records import Floats, GpuRecord
from accelerate_sim.sim.run import Run

HEAT = ("blue", "cyan", "green", "yellow", "red")
"""Colours from the least to the most."""
PARTS = {
    "matmul": "matrix products", "attention": "attention", "elementwise": "norms, act.", "recompute": "recomputation",
    "tensor_comm": "TP comm.", "context_comm": "CP comm.", "expert_comm": "EP comm.", "pipeline_comm": "PP comm.",
    "pipeline_bubble": "PP bubble", "data_comm": "DP comm.", "optimizer": "optimizer", "launch": "host",
    "other": "stragglers",
}  # fmt: skip
FIGURES = ("temperature", "power", "utilization")
"""Figures of the heat map, in the order of its key."""


@dataclass(frozen=True, slots=True)
class View:
    """The run at the moment of a frame."""

    run: Run
    gpus: GpuRecord
    time: datetime
    completed: int
    """Steps that are complete."""


Size = tuple[int, int]
"""Columns and rows inside a box."""


def heading(view: View, history: History, style: Style, width: int, model: str) -> Text:
    """The first row of the screen: the run, its time and its latest figures."""
    run, dot = view.run, f" {style.glyph('dot')} "
    layout = run.layout
    facts = [
        f"run {run.number}", model, f"{layout.world_size:,} GPUs", f"{view.time:%Y-%m-%d %H:%M:%S}",
        f"step {history.last.step if history.last else view.completed:,}/{run.last_step:,}",
    ]  # fmt: skip
    if last := history.last:
        facts += [f"loss {last.loss:.4f}", f"MFU {mfu_text(last.mfu)}", f"{count_text(last.tokens)} tokens"]
        facts.append(duration_text(last.elapsed_s))
    while len(facts) > 1 and columns(dot.join(facts)) > width:
        facts.pop()  # a figure that is cut would be another figure
    return Text(style.text(dot.join(facts)), "bold", no_wrap=True, overflow="crop")


class Rows:
    """Rows of characters in colours. Of many colours in a row a Text of rich's takes several times as long to draw."""

    def __init__(self) -> None:
        self._segments: list[Segment] = []

    @property
    def plain(self) -> str:
        """The characters without their colours."""
        return "".join(segment.text for segment in self._segments)

    def append(self, text: str, color: str) -> None:
        """Add characters to the present row."""
        self._segments.append(Segment(text, TextStyle.parse(color)))

    def append_row(self, characters: Sequence[str], colors: Sequence[str]) -> None:
        """Add characters, neighbours of one colour together, and end the row."""
        begin = 0
        for end in range(1, len(characters) + 1):
            if end == len(characters) or colors[end] != colors[begin]:
                self.append("".join(characters[begin:end]), colors[begin])
                begin = end
        self._segments.append(Segment.line())

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterable[Segment]:
        return self._segments


def losses(view: View, history: History, style: Style, size: Size) -> Text | Rows:
    """The losses of all steps; ``o`` marks validations, a bar the steps after which the job was started again."""
    width, rows = size[0] - 8, size[1] - 1
    steps, values = np.array(history.losses, float).reshape(-1, 2).T
    finite = values[np.isfinite(values)]
    if not len(finite) or width < 4 or rows < 2:
        return Text("no step yet", "bright_black")
    least, most = float(finite.min()), float(finite.max())
    bounds = (0.0, max(float(history.furthest_step), 2.0), least, most)
    lines = [list(line) for line in curve(steps, values, bounds, (width, rows), style.ascii)]
    colors = [["cyan"] * width for _ in lines]
    for step in history.restarts:
        column, _ = cells(np.array([step]), np.array([least]), bounds, (width, rows))
        for line, color in zip(lines, colors, strict=True):
            line[column[0]], color[column[0]] = style.glyph("bar"), "red"
    if history.validations:
        x, y = np.array(history.validations, float).T
        for column, row in zip(*cells(x, y, bounds, (width, rows)), strict=True):
            lines[row][column], colors[row][column] = "o", "bold yellow"
    text = Rows()
    for number, (line, color) in enumerate(zip(lines, colors, strict=True)):
        label = most - (most - least) * number / max(rows - 1, 1)
        text.append(f"{label:7.3f} ", "bright_black")
        text.append_row(line, color)
    text.append(f"{'':8}0{f'step {int(bounds[1]):,}':>{width - 1}}", "bright_black")
    return text


def heat_map(view: View, style: Style, size: Size, figure: str) -> Rows:
    """One figure of all GPUs, a node a row if there is room, else groups of GPUs by their largest value."""
    width, rows = size
    gpus = view.gpus
    values, least, most, unit = _heat_figure(gpus, figure, style)
    per_row = gpus.gpus_per_node
    if len(values) > per_row * (rows - 1) or per_row * 2 > width:
        per_row = width
        values = pooled(values, width * max(rows - 1, 1))
    cell = max(1, min(5, width // per_row))
    share = np.clip((values - least) / (most - least), 0.0, 1.0)
    levels = np.minimum((share * len(HEAT)).astype(int), len(HEAT) - 1).tolist()
    text = Rows()
    texts = [_cell(value, part, cell, style) for value, part in zip(values.tolist(), share.tolist(), strict=True)]
    for begin in range(0, len(texts), per_row):
        row = slice(begin, begin + per_row)
        text.append_row(texts[row], [HEAT[level] for level in levels[row]])
    low, high = float(values.min()), float(values.max())
    text.append(f"{low:.0f}{style.glyph('to')}{high:.0f} {unit} (t: next)", "bright_black")
    return text


def _heat_figure(gpus: GpuRecord, figure: str, style: Style) -> tuple[Floats, float, float, str]:
    """Values, least and most of the colours, and the unit."""
    if figure == "power":
        return gpus.power_w, 0.1 * gpus.power_limit_w, gpus.power_limit_w, "W"
    if figure == "utilization":
        return gpus.utilization_pct, 0.0, 100.0, "%"
    return gpus.temperature_c, 30.0, gpus.slowdown_temperature_c, style.glyph("celsius")


def _cell(value: float, share: float, width: int, style: Style) -> str:
    """The value as a number if there is room for it, else as a block that is higher or denser for more."""
    number = f"{value:.0f}"
    if len(number) < width:
        return f"{number:>{width - 1}} "
    if style.color and not style.ascii:
        return style.glyph("block") * max(1, width - 1) + " " * (width > 1)
    glyphs = style.glyph("heights")
    return glyphs[round(share * (len(glyphs) - 1))] * max(1, width - 1) + " " * (width > 1)


def pace(view: View, history: History, style: Style, size: Size) -> Text:
    """Tokens per second and seconds of the latest steps."""
    text = Text(no_wrap=True, overflow="crop")
    if not (last := history.last):
        return Text("no step yet", "bright_black")
    text.append(f"{last.tokens_per_s:,.0f} tokens/s\n", "bold")
    text.append(strip(history.tokens_per_s, size[0], style.ascii) + "\n", "green")
    text.append(f"{last.step_time_s:.3f} s a step\n", "bold")
    text.append(strip(history.step_s, size[0], style.ascii) + "\n", "yellow")
    text.append(f"{si_text(float(view.gpus.power_w.sum()), 'W', 2)} {style.glyph('dot')} grad {last.grad_norm:.3f}")
    return text


def step_parts(view: View, style: Style, size: Size) -> Text:
    """Shares of the time of a step, the largest first."""
    parts = view.run.step_parts
    text = Text(no_wrap=True, overflow="crop")
    for name, seconds in sorted(parts.parts().items(), key=lambda part: -part[1])[: size[1]]:
        share = seconds / parts.total
        if share > 0.0005:
            text.append(f"{PARTS.get(name, name):<15.15} {share:5.1%} ")
            text.append(style.bar(share, max(size[0] - 23, 0)) + "\n", "cyan")
    return text


def ahead(view: View, history: History, style: Style, size: Size) -> Text:
    """The next checkpoint, the attempt, and the latest warnings and restarts."""
    run, text = view.run, Text(no_wrap=True, overflow="crop" if style.ascii else "ellipsis")
    every = run.config.checkpoint.every
    if every:
        due = min((view.completed // every + 1) * every, run.last_step)
        seconds = (due - view.completed) * run.mean_step_s
        text.append(f"checkpoint at step {due:,} in {duration_text(seconds)}\n")
    if saved := history.checkpoint:
        text.append(f"last: step {saved.step:,}, {bytes_text(saved.bytes)} in {saved.seconds:.0f} s\n", "green")
    text.append(f"attempt {history.attempts}, {history.warnings} warnings\n")
    for event in list(history.events)[-max(size[1] - text.plain.count("\n"), 1) :]:
        text.append(style.text(event)[: size[0]] + "\n", "yellow")
    return text


def log_tail(lines: Iterable[str], size: Size) -> Text:
    """The latest lines of the log."""
    latest = list(lines)[-size[1] :]
    text = Text("\n", no_wrap=True, overflow="crop").join(Text.from_ansi(line) for line in latest)
    text.no_wrap, text.overflow = True, "crop"
    return text
