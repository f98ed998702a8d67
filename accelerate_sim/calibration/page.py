"""Put the calibration's tables into a markdown page, each in the place made for it, with the commit.

A place begins with ``<!-- printed of FILE.csv -->`` and ends with ``<!-- end -->``; what is between them is replaced.
"""

import subprocess
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from accelerate_sim.version import __version__

PACKAGE = Path(__file__).parents[1]
END = "<!-- end -->"


class NoPlace(ValueError):
    """The page has no place for the table; the text says how to make one."""


def updated(page: str, file_name: str, lines: Sequence[str]) -> str:
    """Return the page with new lines in the place for ``file_name``; raise :class:`NoPlace` if there is none."""
    begin = f"<!-- printed of {file_name} -->"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(END)
    if not (found and closed):
        raise NoPlace(f"there is no place for the tables; write '{begin}' and '{END}' where they belong")
    return "\n".join([before + begin, f"Printed at {code_state()}.", "", *lines, END]) + after


def code_state() -> str:
    """Return the commit and its date, or the version and the day where there is no commit."""
    commit = _git("log", "-1", "--format=%h of %cs") if _git("ls-files", "--", __file__) else ""
    if not commit:
        return f"version {__version__} on {date.today()}"
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", "*.py", "*.json", "*.yaml")
    return f"commit {commit}{', with changes' if changed else ''}"


def _git(*arguments: str) -> str:
    """Return the output of git about the package's directory; nothing without git or a repository."""
    try:
        done = subprocess.run(["git", "-C", str(PACKAGE), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
