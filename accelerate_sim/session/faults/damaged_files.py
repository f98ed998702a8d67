"""Damages a file of a checkpoint on the disk, as a fault of its storage does, and finds those that are damaged."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from accelerate_sim.artifacts import manifest
from accelerate_sim.artifacts.atomic import explained
from accelerate_sim.artifacts.damage import Damaged
from accelerate_sim.checkpoints.directory import RunDirectory, checkpoint_step, state_of_checkpoint
from fake_torch_dist.terminal.descriptor import printable

if TYPE_CHECKING:
    from accelerate_sim.faults.consequences import Damage

HEADER_BYTES = 16


def damage(checkpoint: Path, what: Damage) -> None:
    """Damage the first file of a checkpoint that fits the pattern, or its first one if none does."""
    if not checkpoint.is_dir():
        return
    heads = _heads(checkpoint)
    found = sorted(name for name in heads if Path(name).match(what.file)) or sorted(heads)
    if not found:
        return
    path = checkpoint / found[0]
    with explained(path, "The checkpoint was to be damaged by a fault."):
        _damage(path, what.how, heads[path.name])


def damaged_after(directory: Path, step: int) -> tuple[str, ...]:
    """Sentences of ``--resume`` about the checkpoints of a run after ``step`` that are damaged, the newest first."""
    found = []
    for path in RunDirectory(directory).checkpoints():
        if (checkpoint_step(path) or 0) > step:
            try:
                state_of_checkpoint(path)
            except Damaged as error:
                found.append(f"{printable(str(path))} is damaged: it {error}")
    return tuple(found)


def _heads(checkpoint: Path) -> dict[str, int]:
    """Bytes at the beginning of each file that are no hole, for files that have some."""
    try:
        files = manifest.read_json(checkpoint / manifest.NAME).get("files", ())
    except Damaged:
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
