"""The preview image of the page, as sites show it beside a link: a moment of a run, as PNG.

Drawn by matplotlib, which brings a font of its own: the same version draws the same bytes.
"""

from __future__ import annotations

import io
from itertools import groupby
from typing import Any

from accelerate_sim.web.cell_screen import BLANK
from accelerate_sim.web.downloads import BuildError
from accelerate_sim.web.picture import COLORS, CONFIG, MOMENT_S, TITLE, screen_at

WIDTH, HEIGHT = 1200, 630
"""Pixels, as Open Graph asks for."""
DPI = 100.0
CELL_WIDTH, LINE_HEIGHT = 8.1, 17.3
"""Pixels of a cell."""
LEFT, TOP, BAR = 110.0, 52.0, 32.0
"""Pixels to the left of the text and above it, and of the window's title bar."""
WINDOW = (96, 10, 1008, 610)
"""Left, top, width and height of the window in pixels."""
POINTS = CELL_WIDTH / 0.602 * 72 / DPI
"""Size of DejaVu Sans Mono, whose characters are 0.602 of it wide."""


def preview(config: str = CONFIG, second: float = MOMENT_S) -> bytes:
    """The terminal at this recorded second of a config's run, as PNG. Raises BuildError without matplotlib."""
    try:
        from matplotlib.figure import Figure
        from matplotlib.patches import Circle, FancyBboxPatch
    except ImportError:
        raise BuildError("The preview image needs matplotlib: python -m pip install 'fake-torchrun[web]'.") from None
    figure = Figure(figsize=(WIDTH / DPI, HEIGHT / DPI), dpi=DPI, facecolor="#1a1e29")
    axes: Any = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(xlim=(0, WIDTH), ylim=(HEIGHT, 0))
    axes.axis("off")
    left, top, width, height = WINDOW
    axes.add_patch(
        FancyBboxPatch(
            (left + 8, top + 8), width - 16, height - 16, boxstyle="round,pad=8", facecolor="#0b0e14", linewidth=0
        )
    )
    for place, color in enumerate(("#f7768e", "#e0af68", "#9ece6a")):
        axes.add_patch(Circle((left + 18 + 18 * place, top + 16), 5.5, facecolor=color, linewidth=0))
    axes.text(WIDTH / 2, top + 20, TITLE.format(config=config), ha="center", **_look(()), alpha=0.6)
    for row, cells in enumerate(screen_at(config, second).cells):
        column = 0
        for attributes, stretch in groupby(cells, key=lambda cell: cell.attributes if cell != BLANK else ()):
            for cell in stretch:
                if cell.text.strip():
                    x, y = LEFT + column * CELL_WIDTH, TOP + (row + 0.8) * LINE_HEIGHT
                    axes.text(x, y, cell.text, **_look(attributes))
                column += len(cell.text)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI, facecolor=figure.get_facecolor(), metadata={"Software": None})
    return file.getvalue()


def _look(attributes: Any) -> dict[str, Any]:
    """Arguments of a text with the attributes of a cell."""
    color = next((COLORS[number] for number in attributes if number in COLORS), "#c5cdd9")
    weight, alpha = "bold" if 1 in attributes else "normal", 0.6 if 2 in attributes else 1.0
    look = {"color": color, "weight": weight, "family": "DejaVu Sans Mono", "size": POINTS, "va": "baseline"}
    return look | ({"alpha": alpha} if attributes else {})
