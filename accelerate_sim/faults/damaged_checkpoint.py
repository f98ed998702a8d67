"""Damages a file of a checkpoint on the disk, as a fault of its storage does."""

from __future__ import annotations

import json
import os
from pathlib import Path

HEADER_BYTES = 16


def damage(checkpoint: Path, how: str, pattern: str) -> None:
    """Damage the first file of a checkpoint that fits the pattern, or its first one if none does. Raises OSError."""
    if not checkpoint.is_dir():
        return
    heads = _heads(checkpoint)
    found = sorted(name for name in heads if Path(name).match(pattern)) or sorted(heads)
    if not found:
        return
    _damage(checkpoint / found[0], how, heads[found[0]])


def _heads(checkpoint: Path) -> dict[str, int]:
    """Bytes at the beginning of each file that are no hole, for files that have some; nothing without a manifest."""
    try:
        files = json.loads((checkpoint / "manifest.json").read_bytes())["files"]
    except (FileNotFoundError, ValueError, KeyError):
        return {}
    return {entry["name"]: entry["head_bytes"] for entry in files if entry["head_bytes"] > HEADER_BYTES}


def _damage(path: Path, how: str, head_bytes: int) -> None:
    size = path.stat().st_size
    if how == "missing":
        path.unlink()
    elif how == "truncate":
        os.truncate(path, size // 2)
    elif how == "zero":
        os.truncate(path, 0)
        os.truncate(path, size)
    else:
        with path.open("r+b") as file:
            place = 0 if how == "header" else head_bytes // 2
            file.seek(place)
            old = file.read(HEADER_BYTES if how == "header" else 1)
            file.seek(place)
            file.write(bytes(byte ^ (0xFF if how == "header" else 0x01) for byte in old))
