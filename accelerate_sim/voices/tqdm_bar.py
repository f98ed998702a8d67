"""The text of a tqdm bar, made from counts and simulated seconds, for voices of frameworks that show one.

Format and smoothing are tqdm 4's: the rate is an exponential average over the states that are drawn, and a bar that is
closed shows the mean rate. A bar is drawn again after a tenth of a second at the earliest.
"""

from __future__ import annotations

import math

from accelerate_sim.voices.voice import Bar

MIN_INTERVAL_S = 0.1
SMOOTHING = 0.3
PIPE_BAR = 10
"""Characters of the bar itself where there is no terminal."""
BLOCKS = " ▏▎▍▌▋▊▉█"


class TqdmBar:
    """A bar over ``total`` units, which begins at simulated second ``begin_s``."""

    def __init__(
        self, total: int, begin_s: float, *, unit: str = "it", description: str = "", inverts_rate: bool = True,
        refreshes: bool = False,
    ) -> None:  # fmt: skip
        """``inverts_rate``: a rate below 1 is shown as seconds per unit. ``refreshes``: the program draws the bar at
        each update itself, as by ``refresh()``, which shows the mean rate."""
        self.total = total
        self.postfix = ""
        """Text after the rate, which begins with a comma."""
        self._inverts_rate = inverts_rate
        self._refreshes = refreshes
        self.count = 0
        self._begin_s = self._drawn_s = self._now_s = begin_s
        self._drawn_count = 0
        self._unit = unit
        self._head = f"{description}: " if description else ""
        self._counts = self._seconds = 0.0
        self._draws = 0
        self._text: tuple[int, str] | None = None
        """Width and text of the present state, which is drawn again after each line."""

    def update(self, count: int, now_s: float) -> bool:
        """Set the units that are done. Returns True if the bar is to be drawn again."""
        self.count, self._now_s = count, now_s
        if self._refreshes:
            self._text = None
            return True
        seconds = now_s - self._drawn_s
        if seconds < MIN_INTERVAL_S:
            return False
        self._counts += SMOOTHING * (count - self._drawn_count - self._counts)
        self._seconds += SMOOTHING * (seconds - self._seconds)
        self._draws += 1
        self._drawn_s, self._drawn_count = now_s, count
        self._text = None
        return True

    def tell(self, postfix: str) -> None:
        """Set the text after the rate, which begins with a comma."""
        self.postfix, self._text = postfix, None

    def bar(self, *, leaves: bool | None = None) -> Bar:
        """The present state, on standard error; ``leaves`` as in ``Bar``."""
        if leaves is not None:
            self._draws, self._text = 0, None
        return Bar(self.text, leaves=leaves)

    def text(self, width: int) -> str:
        """The bar in ``width`` columns; 0: with a bar of ten characters."""
        if self._text is None or self._text[0] != width:
            self._text = width, self._worded(width)
        return self._text[1]

    def _worded(self, width: int) -> str:
        share = self.count / self.total if self.total else 1.0
        elapsed_s = self._now_s - self._begin_s
        rate = self._rate(elapsed_s)
        left = f"{self._head}{share * 100:3.0f}%|"
        remaining = _clock((self.total - self.count) / rate) if rate else "?"
        right = f"| {self.count}/{self.total} [{_clock(elapsed_s)}<{remaining}, {self._rate_text(rate)}{self.postfix}]"
        return f"{left}{_blocks(share, max(width - len(left) - len(right), 1) if width else PIPE_BAR)}{right}"

    def _rate(self, elapsed_s: float) -> float:
        """Units per second: smoothed if it was drawn before and goes on, else the mean; 0 before the first unit."""
        if self._draws and self._seconds:
            return self._counts / self._seconds
        return self.count / elapsed_s if elapsed_s and self.count else 0.0

    def _rate_text(self, rate: float) -> str:
        if not rate:
            return f"?{self._unit}/s" if self._unit == "it" else f"? {self._unit}/s"
        return (
            f"{rate:5.2f}{self._unit}/s"
            if rate >= 1.0 or not self._inverts_rate
            else f"{1.0 / rate:5.2f}s/{self._unit}"
        )


def _blocks(share: float, width: int) -> str:
    whole, eighths = divmod(int(share * width * 8), 8)
    return "█" * whole + (BLOCKS[eighths] + " " * (width - whole - 1) if whole < width else "")


def _clock(seconds: float) -> str:
    minutes, second = divmod(int(seconds) if math.isfinite(seconds) else 0, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours:d}:{minute:02d}:{second:02d}" if hours else f"{minute:02d}:{second:02d}"
