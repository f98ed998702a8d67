"""One rank of the comparison: times collectives of ``fake_torch_dist`` or of torch.distributed with gloo.

    python collectives_bench.py ours|torch

Reads RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT. Rank 0 prints a JSON object: "operation bytes" -> median seconds.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

SIZES = {8: 60, 1024: 60, 2**20: 20, 2**26: 5}
"""Bytes of the full buffer, and how often each is timed."""
LARGEST_MESSAGE = 2**20
OPERATIONS = [
    "barrier 0",
    *(
        f"{name} {size}"
        for size in SIZES
        for name in ("all_reduce", "all_gather", "reduce_scatter", "broadcast", "ping_pong")
        if name != "ping_pong" or size <= LARGEST_MESSAGE
    ),
]
"""Every operation that is timed, and its bytes."""


def main(implementation: str) -> None:
    """Both implementations run the same calls; only the tensors differ."""
    dist: Any
    if implementation == "torch":
        import torch
        import torch.distributed as dist

        def floats(count: int) -> Any:
            return torch.ones(count, dtype=torch.float32)
    else:
        import numpy as np

        import fake_torch_dist as dist

        def floats(count: int) -> Any:
            return np.ones(count, dtype=np.float32)

    dist.init_process_group("gloo")
    world_size = dist.get_world_size()
    found = {"barrier 0": timed(dist, dist.barrier, 60)}
    for size_bytes, repeats in SIZES.items():
        count = max(size_bytes // 4, world_size)
        count -= count % world_size
        whole, part = floats(count), floats(count // world_size)
        operations: dict[str, Callable[[], object]] = {
            "all_reduce": lambda whole=whole: dist.all_reduce(whole),
            "all_gather": lambda whole=whole, part=part: dist.all_gather_single(whole, part),
            "reduce_scatter": lambda whole=whole, part=part: dist.reduce_scatter_single(part, whole),
            "broadcast": lambda whole=whole: dist.broadcast(whole, 0),
        }
        if size_bytes <= LARGEST_MESSAGE:
            operations["ping_pong"] = lambda whole=whole: ping_pong(dist, whole)
        for name, operation in operations.items():
            found[f"{name} {size_bytes}"] = timed(dist, operation, repeats)
    if dist.get_rank() == 0:
        print(json.dumps(found))
    dist.barrier()
    dist.destroy_process_group()


def ping_pong(dist: Any, tensor: Any) -> None:
    """One message from rank 0 to rank 1 and one back."""
    rank = dist.get_rank()
    if rank == 0:
        dist.send(tensor, 1)
        dist.recv(tensor, 1)
    elif rank == 1:
        dist.recv(tensor, 0)
        dist.send(tensor, 0)


def timed(dist: Any, operation: Callable[[], object], repeats: int) -> float:
    """Median seconds of one call, the ranks starting together."""
    for _ in range(2):
        operation()
    taken = []
    for _ in range(repeats):
        dist.barrier()
        begin = time.perf_counter()
        operation()
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main(sys.argv[1])
