"""Whole jobs: ranks that start, meet and end, against torchrun with gloo, and against bare interpreters; real time."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from tests.benchmarks.figure import Figure
from tests.support.repository import ROOT

OURS = (sys.executable, "-m", "fake_torch_dist.run")
TORCHRUN = (sys.executable, "-m", "torch.distributed.run")
MEET = "import {dist} as dist\ndist.init_process_group('gloo')\ndist.barrier()\ndist.destroy_process_group()\n"
FIRST_LINE = "print('up')\n"
LIMIT_S = 300


def _seconds(command: Sequence[str], text: str) -> float:
    """Seconds from the command to the end of a script."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "job.py").write_text(text)
        env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        begin_s = time.perf_counter()
        subprocess.run(
            [*command, "job.py"], cwd=directory, env=env, check=True, timeout=LIMIT_S,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        return time.perf_counter() - begin_s


def _bare(count: int) -> float:
    """Seconds in which so many interpreters, at once, print a line and end."""
    begin_s = time.perf_counter()
    processes = [
        subprocess.Popen([sys.executable, "-S", "-c", FIRST_LINE], stdout=subprocess.DEVNULL) for _ in range(count)
    ]
    for process in processes:
        process.wait()
    return time.perf_counter() - begin_s


def figures() -> list[Figure]:
    """The rows of the page; without torch those of ours alone."""
    nodes = ("--nnodes", "8", "--nproc-per-node", "8")
    rows = [
        Figure(
            "64 ranks start, print a line and end", "s", "64 bare interpreters",
            partial(_seconds, (*OURS, *nodes), FIRST_LINE), partial(_bare, 64),
        )
    ]  # fmt: skip
    for count in ("2", "8") if find_spec("torch") else ():
        flags = ("--nproc-per-node", count)
        ours = partial(_seconds, (*OURS, *flags), MEET.format(dist="fake_torch_dist"))
        theirs = partial(_seconds, (*TORCHRUN, *flags), MEET.format(dist="torch.distributed"))
        rows.append(Figure(f"{count} ranks start, init, barrier, end", "s", "torchrun, gloo", ours, theirs))
    return rows
