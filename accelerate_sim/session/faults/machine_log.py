"""The logs of machines: lines of kernels and daemons, each file in the order of time, for any order of the writers.

All kinds of fault write here. A line may come some seconds after its fault, and thus after the lines of a later one.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from accelerate_sim.artifacts.atomic import explained

Stamped = tuple[datetime, str]
"""The moment of a line, and the line with its date."""
DATE = len("Jan 31 09:30:41")
HALF_A_YEAR = timedelta(days=183)


def add(path: Path, lines: Sequence[Stamped], *, dated: bool = True) -> None:
    """Add lines to a log. Lines of a strike that an earlier session has written already are not written again.

    ``dated``: each line begins with its time, by which lines that come late find their place.
    """
    lines = sorted(lines, key=lambda line: line[0])
    known = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    if not Counter(text for _, text in lines) - Counter(known):
        return
    with explained(path, "What it holds is whole."):
        path.parent.mkdir(parents=True, exist_ok=True)
        if known and dated and _moment(known[-1], lines[0][0]) > lines[0][0].replace(microsecond=0):
            _replace(path, _merged(known, lines))
            return
        with path.open("a", encoding="utf-8") as file:
            file.write("".join(f"{text}\n" for _, text in lines))


def _merged(known: Sequence[str], lines: Sequence[Stamped]) -> list[str]:
    """Both in the order of time; of one second, what was there comes first."""
    near = lines[0][0]
    stamped = [(_moment(text, near), text) for text in known]
    stamped += [(moment.replace(microsecond=0), text) for moment, text in lines]
    return [text for _, text in sorted(stamped, key=lambda line: line[0])]


def _moment(text: str, near: datetime) -> datetime:
    """The moment of a line, which does not say its year: the one that is near."""
    moment = datetime.strptime(f"{near.year} {text[:DATE]}", "%Y %b %d %H:%M:%S").replace(tzinfo=near.tzinfo)
    if moment > near + HALF_A_YEAR:
        return moment.replace(year=near.year - 1)
    return moment.replace(year=near.year + 1) if moment < near - HALF_A_YEAR else moment


def _replace(path: Path, lines: Sequence[str]) -> None:
    scratch = path.with_name(f".{path.name}.new")
    scratch.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    os.replace(scratch, path)
