"""Properties of the terminal behind standard output: live lines, colours, and characters beyond ASCII."""

from __future__ import annotations

import os
import sys

from accelerate_sim.display.cell_output import replaced_stdout
from accelerate_sim.display.style import Style
from accelerate_sim.process.placement import own_placement, terminal_behind_launcher
from accelerate_sim.process.schedulers import is_started_by_machine
from fake_torch_dist.launcher.environment_names import COLOR, STORE
from fake_torch_dist.terminal.descriptor import moves_cursor

STDOUT = 1


def terminal_style(fd: int, *, ascii_only: bool = False) -> tuple[bool, Style]:
    """(True if live lines can be drawn, colours and glyphs) for the file or terminal behind ``fd``.

    NO_COLOR, FORCE_COLOR and TERM=dumb are obeyed (https://no-color.org, https://force-color.org). A launcher passes
    on which terminal it writes to.
    """
    live = on_terminal(fd)
    color = bool(os.environ.get("FORCE_COLOR") or os.environ.get(COLOR)) or live
    if os.environ.get("NO_COLOR"):
        color = False
    return live, Style(color=color, ascii=ascii_only or not _shows_unicode())


def on_terminal(fd: int) -> bool:
    """True if a terminal shows what is written to ``fd``, directly or through fake-torchrun, and a person sees it.

    A pty that a machine has made is none: of Slurm, MPI or another launcher, of a container, a CI job or a notebook's
    cell. TERM=dumb takes no bars.
    """
    environ = os.environ.get
    if fd == STDOUT and replaced_stdout():
        return False
    if not moves_cursor(os.environ) or environ("CI", "").lower() not in ("", "0", "false", "no"):
        return False
    if terminal_behind_launcher() is not None:
        return True
    by_launcher = STORE in os.environ  # fake-torchrun, which gives its own terminal to a single rank
    return os.isatty(fd) and (by_launcher or not _is_started_by_machine())


def _is_started_by_machine() -> bool:
    """True for a rank of another launcher, a task of a scheduler, and the first process of a container."""
    return os.getpid() == 1 or is_started_by_machine(os.environ) or own_placement() is not None


def _shows_unicode() -> bool:
    """True if standard output takes more than ASCII. Python writes UTF-8 in the C locale, too."""
    environ = os.environ.get
    if environ("LC_ALL") in ("C", "POSIX") and not environ("PYTHONIOENCODING") and environ("PYTHONUTF8") != "1":
        return False
    return "utf" in (getattr(sys.stdout, "encoding", None) or "ascii").lower()
