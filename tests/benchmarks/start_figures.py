"""Starts: the command line, its first line, its help and a plan, against the bare imports of what the project needs."""

from __future__ import annotations

import sys
import tempfile
from functools import partial

from tests.benchmarks.figure import IMPORTS, TRAIN, Figure, cost_of

COMMAND_LINE = (sys.executable, "-c", "from accelerate_sim.cli.app import launch")
FAKE_DIST = (sys.executable, "-c", "import fake_torch_dist")
NUMPY = (sys.executable, "-c", "import numpy")
PLAN = (*TRAIN, "--config", "llama70b", "--plan")
LARGE_PLAN = (*PLAN, "--set", "cluster.nodes=12500", "--set", "train.global_batch=25000")


def _cpu_ms(command: tuple[str, ...], *, cached: bool) -> float:
    """Processor milliseconds of a command with the bytecode of an earlier run, or with none of ours."""
    if cached:
        environment = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": f"{tempfile.gettempdir()}/{CACHE}"}
        return cost_of(command, environment).cpu_s * 1e3
    with tempfile.TemporaryDirectory() as empty:
        return cost_of(command, {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPYCACHEPREFIX": empty}).cpu_s * 1e3


CACHE = "fake-torchrun-benchmark-bytecode"
"""Folder of temporary files that keeps bytecode between two rounds."""


def figures() -> list[Figure]:
    """The rows of the page."""
    rows = [
        ("import of the command line", COMMAND_LINE, "bare imports", IMPORTS),
        ("`train.py --help`", (*TRAIN, "--help"), "bare imports", IMPORTS),
        ("`--plan` of 64 GPUs", PLAN, "bare imports", IMPORTS),
        ("`--plan` of 100,000 GPUs", LARGE_PLAN, "bare imports", IMPORTS),
        ("import of `fake_torch_dist`", FAKE_DIST, "import of numpy", NUMPY),
    ]
    return [
        Figure(
            f"{what}, {'bytecode cached' if cached else 'no bytecode'}", "ms CPU", name,
            partial(_cpu_ms, ours, cached=cached), partial(_cpu_ms, limit, cached=cached),
        )
        for cached in (True, False)
        for what, ours, name, limit in rows
    ]  # fmt: skip
