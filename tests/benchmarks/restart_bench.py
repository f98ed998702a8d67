"""Measures a launched job that starts again after a rank was killed: real time and processor time of the restart."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import children_of
from tests.support.repository import ROOT

LAUNCH = (sys.executable, "-m", "fake_torch_dist.run", "--max-restarts", "1")
KILLED = ("closing signal", "failed (exitcode")
"""Words of the launcher's first line after the end of a rank: the second if the other ranks have ended already."""
AGAIN = "again"
BARE = f"""
import os, time
import fake_torch_dist as dist
dist.init_process_group("gloo")
dist.barrier()
if int(os.environ["TORCHELASTIC_RESTART_COUNT"]):
    if dist.get_rank() == 0:
        print("{AGAIN} step 1 |", flush=True)
    time.sleep(600)
elif dist.get_rank() == 1:
    os.kill(os.getpid(), 9)
dist.barrier()
"""
"""A script whose ranks do nothing but meet, one of which is killed once: what each restart costs at the least."""
TRAINING = (
    str(ROOT / "train.py"), "--config", str(ROOT / "configs/llama70b.yaml"), "--speed", "max", "--no-progress",
    "--set", "log.every=1", "--fault", "kill rank=1 at=step:3",
)  # fmt: skip
TRAINING_AGAIN = "Attempt 2"


@dataclass(frozen=True)
class Restart:
    """The time from the launcher's notice of a killed rank to the first step's line of the next attempt."""

    wall_s: float
    cpu_s: float
    """Processor seconds of the launcher, its agents, and all new ranks."""


def restart_of(shape: tuple[int, int], job: Sequence[str], again: str) -> Restart:
    """Start a job of nodes x ranks whose first attempt is killed, and measure its restart.

    ``again``: words of the new attempt's first line; the first line of a step after it is the restart's end.
    """
    nodes, ranks = map(str, shape)
    killed = begun = None
    with started([*LAUNCH, "--nnodes", nodes, "--nproc-per-node", ranks, *job]) as (process, lines):
        for line in lines:
            if killed is None and any(words in line for words in KILLED):
                killed = time.monotonic(), _cpu_s(launcher_and_agents(process.pid))
            begun = begun or again in line
            if begun and killed and " step 1 |" in line:
                agents = launcher_and_agents(process.pid)
                new = [rank for agent in agents[1:] for rank in children_of(agent)]
                return Restart(time.monotonic() - killed[0], _cpu_s([*agents, *new]) - killed[1])
    raise RuntimeError("the job has not started again")


def bare_job(directory: Path) -> tuple[str, ...]:
    """The words of a job that only meets."""
    script = directory / "meets.py"
    script.write_text(BARE)
    return (str(script),)


@contextmanager
def started(command: Sequence[str]) -> Iterator[tuple[subprocess.Popen[str], Iterator[str]]]:
    """A command, killed with what it has started at the end of the block, and the lines of its output."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with (
        tempfile.TemporaryDirectory() as directory,
        subprocess.Popen(
            command, cwd=directory, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process,
    ):
        assert process.stdout
        try:
            yield process, iter(process.stdout)
        finally:
            process.kill()  # its agents kill the ranks
            for _ in process.stdout:
                pass


def launcher_and_agents(pid: int) -> list[int]:
    """Pids of a launcher, which comes first, and of its agents."""
    return [pid, *children_of(pid)]


def _cpu_s(pids: Sequence[int]) -> float:
    """Processor seconds that processes of one thread have used so far, to the nanosecond."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            total += int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
    return total / 1e9
