"""Collectives side by side with torch's gloo, on the same machine in one run. Printed, not judged.

python -m pytest -m "slow and real" tests/benchmarks/test_collectives_against_gloo.py -s
"""

import json
import os
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.repository import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.real,
    pytest.mark.skipif(find_spec("torch") is None, reason="compares with torch: pip install torch==2.13.0"),
]

SCRIPT = Path(__file__).with_name("collectives_bench.py")
LIMIT_S = 300


def measured(implementation: str, world_size: int) -> dict[str, float]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(world_size),
        "PYTHONPATH": str(ROOT),
    }
    ranks = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), implementation],
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
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


@pytest.mark.parametrize("world_size", [2, 4, 8])
def test_ratios(world_size, capsys):
    ours, gloo = measured("ours", world_size), measured("torch", world_size)
    with capsys.disabled():
        print(f"\n  {world_size} ranks: operation, bytes, ours, gloo, gloo / ours")
        for name, seconds in ours.items():
            operation, size = name.split()
            times = f"{seconds * 1e6:10,.0f} us {gloo[name] * 1e6:10,.0f} us {gloo[name] / seconds:7.2f} x"
            print(f"  {operation:14} {int(size):12,} {times}")
