"""Memory of launched jobs: ranks that have met, and ranks of train.py, against those of ranks that do less."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tests.benchmarks.figure import Figure
from tests.benchmarks.restart_bench import LAUNCH, launcher_and_agents, started
from tests.support.processes import children_of
from tests.support.repository import ROOT

UP = "a rank is up"
WAITS = f"""
import fake_torch_dist as dist
import time
{{meet}}
print("{UP}")
time.sleep(600)
"""
MEET = "dist.init_process_group('gloo'); dist.barrier()"
TRAINING = (
    str(ROOT / "train.py"), "--config", str(ROOT / "configs/llama70b.yaml"), "--speed", "1000", "--no-progress",
    "--set", "log.every=1",
)  # fmt: skip
TRAINED = " step 2 |"
"""Words of the first line by which all ranks have made a step."""


def pss_mb(shape: tuple[int, int], job: Sequence[str], words: str, times: int) -> float:
    """Memory of a job of nodes x ranks, with launcher and agents, once ``words`` are in so many lines, in 10^6 bytes.

    A page that several processes share counts in equal parts for each (PSS).
    """
    nodes, ranks = map(str, shape)
    with started([*LAUNCH, "--nnodes", nodes, "--nproc-per-node", ranks, *job]) as (process, lines):
        for line in lines:
            times -= words in line
            if not times:
                agents = launcher_and_agents(process.pid)
                return sum(map(_pss_mb, [*agents, *(rank for agent in agents[1:] for rank in children_of(agent))]))
    raise RuntimeError("the job has ended")


def _pss_mb(pid: int) -> float:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(text.partition("\nPss:")[2].split()[0]) * 1024 / 1e6


def _mb_of_waiting(shape: tuple[int, int], meet: str) -> float:
    with tempfile.TemporaryDirectory() as directory:
        script = Path(directory, "waits.py")
        script.write_text(WAITS.format(meet=meet))
        return pss_mb(shape, [str(script)], UP, shape[0] * shape[1])


def figures() -> list[Figure]:
    """The rows of the page."""
    shape = (8, 8)
    met = partial(_mb_of_waiting, shape, MEET)
    return [
        Figure("64 ranks on 8 nodes that have met", "MB", "ranks that meet nobody", met,
               partial(_mb_of_waiting, shape, "")),
        Figure("64 ranks of `train.py` on 8 nodes after a step", "MB", "ranks that only meet",
               partial(pss_mb, shape, TRAINING, TRAINED, 1), met),
    ]  # fmt: skip
