"""Texts of a progress bar's figures, in tqdm's words.

``tqdm.format_meter`` gives the same for any bar. It also makes figures that few formats show, such as the local time at
which the work will be done, and it is called for each bar of each frame.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tqdm import tqdm as std_tqdm


def figure_texts(figures: Mapping[str, Any]) -> dict[str, Any] | None:
    """The fields of a bar's format, from tqdm's ``format_dict``.

    None for a bar whose fields depend on more than these figures: one without a total, past it, scaled or unnamed.
    """
    n, total, elapsed, rate = figures["n"], figures["total"], figures["elapsed"], figures["rate"]
    prefix, postfix, unit = figures["prefix"], figures["postfix"], figures["unit"]
    is_usual = total and 0 <= n <= total < math.inf and not figures["unit_scale"] and prefix
    if not is_usual or not isinstance(postfix, str | None):
        return None
    if rate is None and elapsed:
        rate = (n - figures["initial"]) / elapsed
    inverse = 1 / rate if rate else 0.0
    speed = f"{inverse:5.2f}s/{unit}" if inverse > 1 else f"{rate:5.2f}{unit}/s" if rate else f"?{unit}/s"
    took = std_tqdm.format_interval(elapsed)
    left = std_tqdm.format_interval((total - n) / rate) if rate else "?"
    last = f", {postfix}" if postfix else ""
    percentage = n / total * 100
    named = prefix if prefix.endswith(": ") else f"{prefix}: "
    return {
        "desc": prefix, "percentage": percentage, "l_bar": f"{named}{percentage:3.0f}%|",
        "r_bar": f"| {n}/{total} [{took}<{left}, {speed}{last}]", "n_fmt": str(n), "total_fmt": str(total),
        "elapsed": took, "remaining": left, "postfix": last,
    }  # fmt: skip


def bar_of(share: float, symbols: str, columns: int) -> str:
    """A bar of so many columns, of which ``share`` are filled, with the empty symbol first and the full one last."""
    steps = len(symbols) - 1
    full, part = divmod(int(share * columns * steps), steps)
    if full >= columns:
        return symbols[-1] * full
    return symbols[-1] * full + symbols[part] + symbols[0] * (columns - full - 1)
