"""Restarts of killed jobs, to the first step's line, against those of a script whose ranks only meet."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from tests.benchmarks.figure import Figure
from tests.benchmarks.restart_bench import AGAIN, TRAINING, TRAINING_AGAIN, bare_job, restart_of

SHAPES = {"64 ranks on 8 nodes": (8, 8), "64 ranks on 1 node": (1, 64)}


def _ms_of_training(shape: tuple[int, int]) -> float:
    return restart_of(shape, TRAINING, TRAINING_AGAIN).cpu_s * 1e3


def _ms_of_a_meeting(shape: tuple[int, int]) -> float:
    with tempfile.TemporaryDirectory() as directory:
        return restart_of(shape, bare_job(Path(directory)), AGAIN).cpu_s * 1e3


def figures() -> list[Figure]:
    """The rows of the page."""
    return [
        Figure(
            f"restart of {size} to the first step", "ms CPU", "ranks that only meet",
            partial(_ms_of_training, shape), partial(_ms_of_a_meeting, shape),
        )
        for size, shape in SHAPES.items()
    ]  # fmt: skip
