"""Records the first seconds of each shipped config in each size, shown before the engine is ready."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from accelerate_sim.config.shipped import shipped_configs
from accelerate_sim.web.engine import play

SIZES = ((120, 40), (80, 32), (56, 36), (44, 34), (80, 24))
"""Columns and rows of the page's terminals, the preferred first; ``terminal.mjs`` has the same."""
START = "2026-01-31T09:30:00"
"""Start of the simulated clock. The page moves the dates to the time of the visit."""
INTRO_S = 40.0
"""Recorded seconds of an intro."""


def write_intros(folder: Path) -> None:
    """Write a file for each shipped config and each size, which its name holds."""
    folder.mkdir()
    for config in shipped_configs():
        for columns, rows in SIZES:
            intro = {"start": START, "frames": intro_frames(config, columns, rows)}
            text = json.dumps(intro, ensure_ascii=False, separators=(",", ":"))
            path = folder / f"{config}-{columns}x{rows}.json.gz"
            path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def intro_frames(config: str, columns: int, rows: int) -> list[Any]:
    """The frames of the first INTRO_S seconds of a config's run."""
    batches: list[bytes] = []
    arguments = ["--config", config, "--start-time", START, "--duration", f"{INTRO_S}s"]
    play(arguments, columns, rows, batches.append)
    frames = [frame for batch in batches for frame in json.loads(batch)]
    return [frame for frame in frames if frame[0] < INTRO_S]  # after that the last line says that time is up
