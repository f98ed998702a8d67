"""A run that goes on and on takes no more memory."""

import os
from pathlib import Path

from tests.support.emulator import environment
from tests.support.repository import ROOT
from tests.support.warm_train import WarmTrain

ENDLESS = (
    "--config", "configs/debug.yaml", "--speed", "max", "--set", "train.steps_per_epoch=1000000",
    "--set", "log.every=500", "--set", "log.gpu_grid_every=100", "--set", "checkpoint.every=500",
)  # fmt: skip
FIRST, LAST = 1000, 5000
OF_A_STEP_BYTES = 400
"""Less than a record takes, and so much that a page of memory more or less does not matter."""


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_steps_that_are_past_take_no_memory() -> None:
    with WarmTrain(ENDLESS, environment(), ROOT) as run:
        run.read_until(f"step {FIRST} |")
        before = resident_bytes(run.pid)
        run.read_until(f"step {LAST} |")
        grown = resident_bytes(run.pid) - before
    assert grown < OF_A_STEP_BYTES * (LAST - FIRST)
