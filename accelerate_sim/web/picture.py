"""A moment of a run as a picture: an SVG of the terminal, for the project's front page and the page's preview."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from xml.sax.saxutils import escape

from accelerate_sim.web.cell_screen import BLANK, Cell, CellScreen
from accelerate_sim.web.engine import play
from accelerate_sim.web.intros import START

CONFIG, MOMENT_S = "llama70b", 2.4
"""Config and recorded second of the project's pictures."""
COLUMNS, ROWS = 120, 32
CELL_WIDTH, LINE_HEIGHT, MARGIN, BAR = 8.0, 17.0, 14.0, 26.0
"""Pixels: of a cell, of a line, around the text, and of the window's title bar."""
COLORS = {31: "#f7768e", 32: "#9ece6a", 33: "#e0af68", 34: "#7aa2f7", 35: "#bb9af7", 36: "#7dcfff"}
"""Colours by their SGR numbers."""
STYLE = "text{font:13.3px 'DejaVu Sans Mono',Menlo,Consolas,monospace;fill:#c5cdd9;white-space:pre}"


TITLE = "python train.py --config {config}"
"""Title of the terminal's window."""


def picture(config: str, second: float) -> str:
    """The terminal at this recorded second of a config's run, as SVG. It says that it is simulated in its title."""
    return "\n".join(_svg(screen_at(config, second), TITLE.format(config=config)))


def screen_at(config: str, second: float) -> CellScreen:
    """The terminal at this recorded second of a config's run."""
    screen = CellScreen(COLUMNS, ROWS)
    batches: list[bytes] = []
    command = ["--config", config, "--start-time", START]
    play(command, COLUMNS, ROWS, batches.append, interrupt_s=second)
    for batch in batches:
        for at, text in json.loads(batch):
            if at < second:
                screen.feed(text)
    return screen


def _svg(screen: CellScreen, title: str) -> Iterator[str]:
    width = screen.columns * CELL_WIDTH + 2 * MARGIN
    height = screen.rows * LINE_HEIGHT + 2 * MARGIN + BAR
    size = f'width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}"'
    yield f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
    yield f"<title>{escape(title)}: a simulated training run</title><style>{STYLE}</style>"
    yield '<rect width="100%" height="100%" rx="8" fill="#0b0e14"/>'
    for place, color in enumerate(("#f7768e", "#e0af68", "#9ece6a")):
        yield f'<circle cx="{18 + 18 * place}" cy="16" r="5.5" fill="{color}"/>'
    yield f'<text x="{width / 2:g}" y="20" text-anchor="middle" opacity=".6">{escape(title)}</text>'
    for row, cells in enumerate(screen.cells):
        y = BAR + MARGIN + (row + 0.8) * LINE_HEIGHT
        yield from _row(cells, y)
    yield "</svg>\n"


def _row(cells: Sequence[Cell], y: float) -> Iterator[str]:
    """The text of a row: one element for each stretch of cells with the same attributes."""
    column = 0
    for attributes, stretch in groupby(cells, key=lambda cell: cell.attributes if cell != BLANK else ()):
        text = "".join(cell.text for cell in stretch)
        if text.strip():
            start = column + len(text) - len(text.lstrip())
            shown = text.strip()
            x, length = MARGIN + start * CELL_WIDTH, len(shown) * CELL_WIDTH
            place = f'x="{x:g}" y="{y:g}" textLength="{length:g}"'
            yield f"<text {place}{_look(attributes)}>{escape(shown)}</text>"
        column += len(text)


def _look(attributes: Sequence[int]) -> str:
    """The attributes of a text element."""
    looks = [f"fill:{COLORS[number]}" for number in attributes if number in COLORS]
    looks += ["font-weight:bold"] if 1 in attributes else []
    looks += ["opacity:.6"] if 2 in attributes else []
    return f' style="{";".join(looks)}"' if looks else ""
