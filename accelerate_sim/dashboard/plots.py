"""Curves, strips and heat maps as rows of characters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

BRAILLE = 0x2800
DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
"""Bit of each dot of a braille character: [4 rows, 2 columns]."""
HEIGHTS = " ▁▂▃▄▅▆▇█"
ASCII_HEIGHTS = " _.-:=+*#"


def curve(
    x: Floats, y: Floats, bounds: tuple[float, float, float, float], size: tuple[int, int], ascii: bool
) -> list[str]:
    """The points of a curve in ``size`` (columns, rows); ``bounds`` are the least and the most of x, then of y."""
    columns, rows = size
    across, down = (1, 1) if ascii else (2, 4)
    column, row = cells(x, y, bounds, (columns * across, rows * down))
    if ascii:
        grid = np.full((rows, columns), ord(" "))
        grid[row, column] = ord("*")
    else:
        grid = np.zeros((rows, columns), int)
        np.bitwise_or.at(grid, (row // 4, column // 2), DOTS[row % 4, column % 2])
        grid = np.where(grid, grid + BRAILLE, ord(" "))
    return ["".join(map(chr, line)) for line in grid.tolist()]


def cells(
    x: Floats, y: Floats, bounds: tuple[float, float, float, float], size: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Column and row, from the top, of each finite point in a grid of ``size`` (columns, rows)."""
    x_least, x_most, y_least, y_most = bounds
    finite = np.isfinite(y)
    x, y = x[finite], y[finite]
    column = (x - x_least) / max(x_most - x_least, 1e-12) * (size[0] - 1)
    row = (y_most - y) / max(y_most - y_least, 1e-12) * (size[1] - 1)
    return (
        np.clip(np.rint(column), 0, size[0] - 1).astype(int),
        np.clip(np.rint(row), 0, size[1] - 1).astype(int),
    )


def strip(values: Iterable[float], width: int, ascii: bool) -> str:
    """The latest values as one row of bars between their least and their most."""
    glyphs = ASCII_HEIGHTS if ascii else HEIGHTS
    latest = np.array([*values][-width:], float)
    if not len(latest):
        return ""
    least, most = float(latest.min()), float(latest.max())
    heights = np.rint((latest - least) / max(most - least, 1e-12) * (len(glyphs) - 2)).astype(int) + 1
    return "".join(glyphs[height] for height in heights.tolist())


def pooled(values: Floats, cells_wanted: int) -> Floats:
    """The largest value of each of at most ``cells_wanted`` groups of neighbours."""
    if len(values) <= cells_wanted:
        return values
    starts = np.linspace(0, len(values), cells_wanted, endpoint=False).astype(int)
    return np.asarray(np.maximum.reduceat(values, starts), float)
