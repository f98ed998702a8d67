"""Leaves the part of a checkpoint that was written before its disk was full or failed."""

from __future__ import annotations

import json
import os
from pathlib import Path

UNFINISHED = ".tmp-"
"""Beginning of the name of a directory that is not complete, as the writer of checkpoints has it."""


def leave_part(last: Path, name: str, pattern: str) -> None:
    """Write what an interrupted checkpoint ``name`` leaves: the files before one that fits the pattern, and its half.

    ``last`` is a whole checkpoint of the run, whose files have the same sizes. The directory has the name that an
    unfinished checkpoint has, so nothing resumes from it, and the next process removes it. Raises OSError.
    """
    try:
        entries = json.loads((last / "manifest.json").read_bytes())["files"]
    except (FileNotFoundError, ValueError, KeyError):
        return
    heads = {str(entry["name"]): int(entry["head_bytes"]) for entry in entries}
    broken = next((each for each in heads if Path(each).match(pattern)), next(iter(heads), ""))
    part = last.with_name(UNFINISHED + name)
    part.mkdir(exist_ok=True)
    for each, head_bytes in heads.items():
        size = (last / each).stat().st_size
        _copy(last / each, part / each, head_bytes, size // 2 if each == broken else size)
        if each == broken:
            return


def _copy(source: Path, target: Path, head_bytes: int, size: int) -> None:
    """Copy the bytes at the beginning of a file that are no hole, and give the copy a size."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as read, target.open("wb") as written:
        written.write(read.read(min(head_bytes, size)))
    os.truncate(target, size)
