"""Ranks of ``fake_torch_dist`` as Ray actors, and ``accelerate_sim.train`` in the workers of Ray Train.

    python ray_ranks.py [NUMBER OF RANKS]

Needs ``ray[train]`` 2.40 or newer, no torch. On a cluster, ``RAY_ADDRESS`` names its head; all ranks need the same
``FAKE_TORCH_DIST_TOKEN``.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import Any

import numpy as np
import ray


def free_address() -> str:
    """Host and port at which rank 0 can be reached, for the worker that calls this."""
    with socket.socket() as sock:
        sock.bind(("", 0))
        return f"{ray.util.get_node_ip_address()}:{sock.getsockname()[1]}"


@ray.remote(num_cpus=1)
class Rank:
    """One rank; Ray starts it in a process of its own."""

    def address(self) -> str:
        """The address at which the others meet this rank."""
        return free_address()

    def sum_of_ranks(self, rank: int, size: int, address: str) -> float:
        """All-reduce the numbers of the ranks."""
        import fake_torch_dist as dist

        dist.init_process_group("gloo", init_method=f"tcp://{address}", rank=rank, world_size=size)
        numbers = np.full(4, float(rank))
        dist.all_reduce(numbers)
        dist.destroy_process_group()
        return float(numbers[0])


def play_one_rank(settings: dict[str, Any]) -> None:
    """Start train.py as this worker's rank. Ray Train says who is who, and starts all again if one fails."""
    import ray.train

    me = ray.train.get_context()
    host, port = settings["address"].rsplit(":", 1)
    place = {
        "RANK": me.get_world_rank(), "WORLD_SIZE": me.get_world_size(), "LOCAL_RANK": me.get_local_rank(),
        "LOCAL_WORLD_SIZE": me.get_local_world_size(), "MASTER_ADDR": host, "MASTER_PORT": port,
    }  # fmt: skip
    words = [sys.executable, "-m", "accelerate_sim.train", "--no-progress", *settings["options"]]
    subprocess.run(words, env=os.environ | {name: str(value) for name, value in place.items()}, check=True)


def main() -> None:
    """Sum the ranks by actors, then train for 20 steps with as many workers."""
    from ray.train import RunConfig, ScalingConfig
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    size = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    ray.init(num_cpus=None if "RAY_ADDRESS" in os.environ else size + 1)
    ranks = [Rank.remote() for _ in range(size)]
    address = ray.get(ranks[0].address.remote())
    sums = ray.get([rank.sum_of_ranks.remote(number, size, address) for number, rank in enumerate(ranks)])
    print(f"sums: {sums}", flush=True)
    del ranks
    settings = {"address": free_address(), "options": ["--config", "debug", "--speed", "max"]}
    storage = RunConfig(storage_path=os.path.abspath("ray-results"))
    workers = ScalingConfig(num_workers=size)
    DataParallelTrainer(play_one_rank, train_loop_config=settings, scaling_config=workers, run_config=storage).fit()


if __name__ == "__main__":
    main()
