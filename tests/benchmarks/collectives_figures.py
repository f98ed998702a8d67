"""Collectives between processes, against torch's gloo; real time."""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from tests.benchmarks.figure import Figure
from tests.support.repository import ROOT

SCRIPT = Path(__file__).with_name("collectives_bench.py")
LIMIT_S = 300
WORLD_SIZES = (2, 4, 8)
ROUND_TRIPS = 2000


class Runs:
    """The medians of one implementation in one world: a run gives all of them, and each is asked for once a round."""

    def __init__(self, implementation: str, world_size: int) -> None:
        self._implementation, self._world_size = implementation, world_size
        self._left: dict[str, float] = {}

    def us(self, operation: str) -> float:
        """Median microseconds of an operation in a run in which it has not been asked for."""
        if operation not in self._left:
            self._left = measured(self._implementation, self._world_size)
        return self._left.pop(operation) * 1e6


def measured(implementation: str, world_size: int) -> dict[str, float]:
    """Median seconds by operation and bytes. AssertionError if a rank fails."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world_size)}
    shared |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), implementation],
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE if rank == 0 else subprocess.DEVNULL,
        )
        for rank in range(world_size)
    ]
    try:
        printed, _ = ranks[0].communicate(timeout=LIMIT_S)
        assert all(rank.wait(timeout=LIMIT_S) == 0 for rank in ranks)
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
    found: dict[str, float] = json.loads(printed)
    return found


def two_wake_ups_us() -> float:
    """Median microseconds in which 8 bytes go over a socket to another process and come back, and nothing else."""
    near, far = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        near.close()
        while data := far.recv(8):
            far.send(data)
        os._exit(0)
    far.close()
    taken = []
    for _ in range(ROUND_TRIPS):
        begin_s = time.perf_counter()
        near.send(b"x" * 8)
        near.recv(8)
        taken.append(time.perf_counter() - begin_s)
    near.close()
    os.waitpid(pid, 0)
    return statistics.median(taken) * 1e6


def figures() -> list[Figure]:
    """The rows of the page; without torch those of ours alone."""
    from tests.benchmarks.collectives_bench import OPERATIONS

    bare = partial(Runs("ours", 2).us, "ping_pong 8")
    rows = [Figure("ping_pong of 8 B, 2 ranks", "us", "a bare socket pair", bare, two_wake_ups_us)]
    if find_spec("torch") is None:
        return rows
    for world_size in WORLD_SIZES:
        ours, gloo = Runs("ours", world_size), Runs("torch", world_size)
        for operation in OPERATIONS:
            name, size = operation.split()
            what = f"{name} of {int(size):,} B, {world_size} ranks" if int(size) else f"{name}, {world_size} ranks"
            rows.append(Figure(what, "us", "gloo", partial(ours.us, operation), partial(gloo.us, operation)))
    return rows
