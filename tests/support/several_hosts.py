"""Scripts, flags and endings of jobs with one launcher command per node, all of them on this host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.launched import Ended, RunningJob

MEET = """
import os
import numpy as np
import fake_torch_dist as dist
dist.init_process_group("gloo")
total = np.ones(1)
dist.all_reduce(total)
names = ("RANK", "LOCAL_RANK", "GROUP_RANK", "LOCAL_WORLD_SIZE", "WORLD_SIZE", "GROUP_WORLD_SIZE", "MASTER_ADDR",
         "MASTER_PORT", "TORCHELASTIC_RUN_ID", "FAKE_TORCH_DIST_TOKEN", "FAKE_TORCH_DIST_STORE")
import json
print(json.dumps({name: os.environ[name] for name in names} | {"sum": int(total[0])}))
dist.destroy_process_group()
"""
WAIT = "import os, time\nprint('up', os.environ['RANK'])\ntime.sleep(600)\n"
ONCE_MORE = """
import os, time
print("up", os.environ["TORCHELASTIC_RESTART_COUNT"], "of", os.environ["WORLD_SIZE"])
if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0": time.sleep(600)
"""
STUBBORN = "import signal\nfor s in (2, 15): signal.signal(s, signal.SIG_IGN)\n" + WAIT


def static(node_rank: int, port: int, nnodes: int = 2, *more: str) -> list[str]:
    address = ["--master-addr", "127.0.0.1", "--master-port", str(port)]
    return ["--nnodes", str(nnodes), "--node-rank", str(node_rank), *address, *more]


def c10d(port: int, nnodes: str = "2", *more: str, run_id: str = "job7") -> list[str]:
    endpoint = ["--rdzv-backend", "c10d", "--rdzv-id", run_id, "--rdzv-endpoint", f"localhost:{port}"]
    return ["--nnodes", nnodes, *endpoint, *more]


def found(*commands: RunningJob) -> list[dict[str, Any]]:
    """Lines that the ranks of all these commands print, in rank order."""
    ended = [command.end() for command in commands]
    assert [command.code for command in ended] == [0] * len(commands), [command.err for command in ended]
    ranks = [json.loads(line) for command in ended for line in command.lines]
    return sorted(ranks, key=lambda rank: int(rank["RANK"]))


def all_up(count: int, *commands: RunningJob) -> None:
    for command in commands:
        command.wait_for("up", count)


def failed(*commands: RunningJob) -> list[Ended]:
    """All end with exit code 1, and no launcher dies of its own mistakes."""
    ended = [command.end() for command in commands]
    assert [command.code for command in ended] == [1] * len(commands), [command.err for command in ended]
    assert not any('launcher/launch.py", line' in command.err for command in ended)
    return ended


def is_listening(port: int) -> bool:
    """True if a process of this host listens at the port."""
    wanted = f":{port:04X} 00000000:0000 0A"
    return wanted in Path("/proc/net/tcp").read_text()
