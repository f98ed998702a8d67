"""Pictures with matplotlib as SVG text that a page can hold, in colours that follow the page's light or dark theme."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID = "#0a0a01", "#7a7a01", "#c8c801"
"""Colours that no picture has by itself; the page puts its own in their place."""
_OF_THE_PAGE = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--line)"}
BLUE, ORANGE, GREEN, RED, VIOLET, TEAL = "#3b82f6", "#f59e0b", "#10b981", "#ef4444", "#8b5cf6", "#14b8a6"
SERIES = (BLUE, ORANGE, GREEN, RED, VIOLET, TEAL, "#ec4899", "#84cc16", "#06b6d4", "#a16207", "#94a3b8", "#f97316")
"""Colours that can be distinguished on white and on black."""
WIDTH_IN = 4.8
"""At this width the text of a picture has its natural size on a phone, and a desktop shows two or three in a row."""
_STYLE: dict[Any, Any] = {
    "font.size": 9.0, "font.family": "sans-serif", "svg.fonttype": "none", "svg.hashsalt": "report",
    "text.color": INK, "axes.labelcolor": MUTED, "axes.edgecolor": GRID, "axes.linewidth": 0.8,
    "xtick.color": MUTED, "ytick.color": MUTED, "xtick.major.size": 3.0, "ytick.major.size": 3.0,
    "axes.axisbelow": True, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": GRID,
    "grid.linewidth": 0.5, "legend.frameon": False, "legend.fontsize": 8.0, "lines.linewidth": 1.2,
    "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none", "path.simplify": True,
}  # fmt: skip


@contextmanager
def style() -> Iterator[None]:
    """Draw everything in the block in the page's style; matplotlib's own settings are as before after it."""
    import matplotlib

    with matplotlib.rc_context(_STYLE):
        yield


class Picture:
    """A figure of ``rows`` x ``columns`` axes to draw on; ``svg`` gives its text."""

    def __init__(self, name: str, height_in: float = 2.6, rows: int = 1, columns: int = 1, **kwargs: Any) -> None:
        """``name`` makes the identifiers of this picture differ from those of all others on its page."""
        from matplotlib.figure import Figure

        self.name = name
        self.figure: Figure = Figure((WIDTH_IN, height_in), layout="constrained")
        made = self.figure.subplots(rows, columns, squeeze=False, **kwargs)
        self.all: list[Axes] = list(made.flat)

    @property
    def axes(self) -> Axes:
        """The first of the axes."""
        return self.all[0]

    def svg(self) -> str:
        """The picture as an ``svg`` element that fills the width it is given."""
        from matplotlib.backends.backend_svg import FigureCanvasSVG

        buffer = io.StringIO()
        canvas: Any = FigureCanvasSVG(self.figure)
        canvas.print_svg(buffer, metadata={"Date": None, "Creator": None})
        text = buffer.getvalue()
        text = text[text.index("<svg") :]
        text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
        text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
        text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
        text = re.sub(r'\bid="([^"]+)"', rf'id="{self.name}-\1"', text)
        text = re.sub(r'href="#([^"]+)"', rf'href="#{self.name}-\1"', text)
        text = re.sub(r"url\(#([^)]+)\)", rf"url(#{self.name}-\1)", text)
        for color, variable in _OF_THE_PAGE.items():
            text = text.replace(color, variable)
        return text


def whole_numbers(*axes: Any) -> None:
    """Let these axes have ticks at whole numbers only: they count ranks, nodes or steps."""
    from matplotlib.ticker import MaxNLocator

    for axis in axes:
        axis.set_major_locator(MaxNLocator(nbins="auto", integer=True))


def legend(axes: Axes, **kwargs: Any) -> None:
    """A legend of the labelled lines, in the page's colours."""
    axes.legend(frameon=False, fontsize=8.0, labelcolor=INK, **kwargs)
