"""Readers of the output of a run: its lines by rank, and its files of JSON lines."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

_RANK = re.compile(r"^(?:\[[^\]]*\] )?\[(?:[Rr]ank ?)(\d+)(?:/\d+)?\]")
"""The rank that a line names: ``[time] [Rank 3/8] ...`` of a run's own lines, ``[rank3]: ...`` of torch's."""


def lines_of(text: str, rank: int | None) -> list[str]:
    """The lines of a text; with ``rank`` those that name it."""
    lines = text.splitlines()
    if rank is None:
        return lines
    return [line for line in lines if (found := _RANK.match(line)) and int(found[1]) == rank]


def json_lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a JSON Lines file; none if it is not there. The last line may still be being written."""
    if not path.exists():
        return []
    data = path.read_bytes()
    return [json.loads(line) for line in data[: data.rfind(b"\n") + 1].splitlines() if line]
