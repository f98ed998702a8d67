"""Lays out the GPU grid: the content of a cell, and the number of cells in a line.

The layout depends on the shapes of the job and of the terminal and not on the figures, so it is computed once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from accelerate_sim.display.gpu.figures import Form
from accelerate_sim.display.style import Style, columns, padded


@dataclass(frozen=True, slots=True)
class Digits:
    """Columns of the widest value of each figure, without units."""

    total_gib: float
    util: int
    memory: int
    memory_tenths: int
    temp: int
    power: int


@dataclass(frozen=True, slots=True)
class CellForm:
    """The form of a cell: rows of (figure, form), and the text between figures and between cells."""

    rows: tuple[tuple[tuple[str, Form], ...], ...]
    gap: str
    separator: str
    ranks: bool = True
    """True if the label of a line names the ranks that it shows."""
    label: str = ""
    """Units, which label the second row instead of ranks."""

    @property
    def columns(self) -> int:
        return max(sum(form.columns for _, form in row) + len(self.gap) * (len(row) - 1) for row in self.rows)

    @property
    def edge(self) -> str:
        """Text between the label and the first cell."""
        return self.separator if self.separator[0] == " " else " " + self.separator


@dataclass(frozen=True, slots=True)
class Grid:
    """A layout. ``lines`` are (label, row of the cells, first GPU, last GPU + 1)."""

    form: CellForm
    separator: str
    lines: tuple[tuple[str, int, int, int], ...]


@lru_cache(maxsize=8)
def grid_of(
    num_gpus: int, per_node: int, names: tuple[str, ...], room: int, style: Style, full: bool, digits: Digits
) -> Grid:
    """The layout with the fewest lines, cells grouped by node; of equals, the form that shows most."""
    forms = (_full_forms if full else _compact_forms)(digits, style)
    label_widths = [_label_width(form, names, num_gpus, style) for form in forms]
    most = [
        max(1, (room - label_width - len(form.edge) + len(form.separator)) // (form.columns + len(form.separator)))
        for form, label_width in zip(forms, label_widths, strict=True)
    ]
    per_line = _even(per_node, min(per_node, max(most)))
    chosen = next(index for index, fitting in enumerate(most) if fitting >= per_line)
    form = forms[chosen]
    return Grid(
        form,
        _dim(form.separator, style),
        tuple(_lines(form, label_widths[chosen], names, num_gpus, per_node, per_line, style)),
    )


def _dim(separator: str, style: Style) -> str:
    return style.paint(separator, "dim") if separator.strip() else separator


def _even(total: int, most: int) -> int:
    """Number of cells in a line, at most ``most``, so that all lines have the same length."""
    divisor = next(size for size in range(most, 0, -1) if total % size == 0)
    return divisor if 2 * divisor > most else -(-total // -(-total // most))


def _lines(
    form: CellForm, width: int, names: tuple[str, ...], num_gpus: int, per_node: int, per_line: int, style: Style
) -> Iterator[tuple[str, int, int, int]]:
    edge = _dim(form.edge, style)
    for node, name in enumerate(names):
        end = min(num_gpus, (node + 1) * per_node)
        for start in range(node * per_node, end, per_line):
            stop = min(start + per_line, end)
            shown = name if start == node * per_node else ""
            ranks = _ranks(start, stop, style) if form.ranks else ""
            for row, label in enumerate(_labels(form, width, shown, ranks, style)):
                yield label + edge, row, start, stop


def _labels(form: CellForm, width: int, name: str, ranks: str, style: Style) -> Iterator[str]:
    if len(form.rows) == 1:
        yield style.paint(name, "bold") + style.paint(f"{ranks:>{width - columns(name)}}", "dim")
        return
    yield style.paint(padded(name, width), "bold")
    below = form.label or ranks
    yield style.paint(f"{below if len(below) <= width else '':>{width}}", "dim")


def _label_width(form: CellForm, names: tuple[str, ...], num_gpus: int, style: Style) -> int:
    name = columns(names[0])
    if len(form.rows) > 1:
        return max(name, len(form.label))  # the ranks stand below the name, if they fit there
    return name + (1 + len(_ranks(num_gpus - 1, num_gpus, style)) if form.ranks else 0)


def _ranks(start: int, stop: int, style: Style) -> str:
    return f"{start}{style.glyph('to')}{stop - 1}"


# --- What a cell holds, from the richest form to the tightest -----------------------------------


def _full_forms(digits: Digits, style: Style) -> list[CellForm]:
    bar, degree, celsius = style.glyph("bar"), style.glyph("degree"), style.glyph("celsius")
    tenths, whole = f"/{digits.total_gib:.1f}", f"/{digits.total_gib:.0f}"

    def form(decimals: int, total: str, degrees: str, gap: str, separator: str, ranks: bool = True) -> CellForm:
        memory = Form(digits.memory_tenths if decimals else digits.memory, decimals, "", total)
        row = (
            ("util", Form(digits.util + 1, 0, "%")),
            ("memory", memory),
            ("temp", Form(digits.temp + len(degrees), 0, degrees)),
            ("power", Form(digits.power + 1, 0, "W")),
        )
        return CellForm((row,), gap, separator, ranks)

    return [
        form(1, tenths + " GiB", celsius, "  ", f" {bar} "),
        form(1, tenths + "G", celsius, " ", f" {bar} "),
        form(1, tenths, degree, " ", f" {bar} "),
        form(0, whole + "G", degree, " ", f" {bar} "),
        form(0, whole + "G", degree, " ", f" {bar} ", ranks=False),
        form(0, whole + "G", degree, " ", bar, ranks=False),
    ]


def _compact_forms(digits: Digits, style: Style) -> list[CellForm]:
    """Forms of a cell, the richest first: only the first show the total memory, and the last show no units."""
    bar, degree = style.glyph("bar"), style.glyph("degree")
    total = f"/{digits.total_gib:.0f}G"

    def form(total: str, separator: str, units: bool = True, aligned: bool = True) -> CellForm:
        gib, watt = "G" * (units and not total), "W" * units
        util, temp = digits.util + 1, digits.temp + len(degree)
        memory, power = digits.memory + len(gib + total), digits.power + len(watt)
        if aligned:
            util = memory = max(util, memory)
            temp = power = max(temp, power)
        upper = ("util", Form(util, 0, "%")), ("temp", Form(temp, 0, degree))
        lower = ("memory", Form(memory - len(total), 0, gib, total)), ("power", Form(power, 0, watt))
        return CellForm((upper, lower), " ", separator, label="" if units else "GiB W")

    return [
        form(total, f" {bar} "),
        form(total, bar),
        form("", f" {bar} "),
        form("", " "),
        form("", " ", units=False),
        form("", " ", units=False, aligned=False),
    ]
