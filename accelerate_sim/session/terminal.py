"""Properties of the terminal behind standard output: live lines, colours, and characters beyond ASCII."""

from __future__ import annotations

import os
import sys

from accelerate_sim.display.style import Style
from accelerate_sim.process.placement import terminal_behind_launcher
from fake_torch_dist.launcher.environment_names import COLOR


def terminal_style(fd: int, *, ascii_only: bool = False) -> tuple[bool, Style]:
    """(True if live lines can be drawn, colours and glyphs) for the file or terminal behind ``fd``.

    NO_COLOR, FORCE_COLOR and TERM=dumb are obeyed (https://no-color.org, https://force-color.org). A launcher passes
    on which terminal it writes to.
    """
    live = on_terminal(fd) and os.environ.get("TERM") != "dumb"
    color = bool(os.environ.get("FORCE_COLOR") or os.environ.get(COLOR)) or live
    if os.environ.get("NO_COLOR"):
        color = False
    return live, Style(color=color, ascii=ascii_only or not _shows_unicode())


def on_terminal(fd: int) -> bool:
    """True if a terminal shows what is written to ``fd``, directly or through a launcher."""
    return os.isatty(fd) or terminal_behind_launcher() is not None


def _shows_unicode() -> bool:
    """True if standard output takes more than ASCII. Python writes UTF-8 in the C locale, too, whoever set it."""
    environ = os.environ.get
    if environ("LC_ALL") in ("C", "POSIX") and not environ("PYTHONIOENCODING") and environ("PYTHONUTF8") != "1":
        return False
    return "utf" in (getattr(sys.stdout, "encoding", None) or "ascii").lower()
