"""What the cluster says of itself when it is connected: ranks, layout, a test of its links, its GPUs."""

from __future__ import annotations

from accelerate_sim.display.units import gib_text, machines_text
from accelerate_sim.logging import get_logger
from accelerate_sim.process.clock import Clock
from accelerate_sim.process.placement import Placement
from accelerate_sim.sim.run import Run
from accelerate_sim.voices.house import message_text

logger = get_logger(__name__)

GPUS_LISTED = 16


def introduce(run: Run, placement: Placement) -> None:
    """The line that every process but the main one begins with, as training scripts print their state."""
    logger.info(
        "Process index: %d | local process index: %d | device: cuda:%d | %s%d",
        placement.rank, placement.local_rank, placement.local_rank, run.config.cluster.host, placement.node,
        main_process_only=False,
    )  # fmt: skip


def connect(run: Run, clock: Clock) -> None:
    """Initialise the process group, time an all-reduce, find the GPUs."""
    cluster, layout = run.config.cluster, run.layout
    clock.advance(run.startup.connect)
    logger.info(
        "Distributed environment: backend nccl | NCCL version %s | world size %s | %s",
        cluster.nccl_version, f"{layout.world_size:,}", machines_text(layout.nodes, layout.gpus_per_node),
    )  # fmt: skip
    logger.info("Parallel layout: %s", layout.describe())
    clock.advance(run.startup.all_reduce_test)
    if layout.world_size > 1:
        test = run.communication.test()
        logger.info(
            "All-reduce test: %s over %s ranks in %.2f ms | %s | algbw %.1f GB/s | busbw %.1f GB/s",
            message_text(test.size_bytes), f"{test.num_ranks:,}", test.seconds * 1e3, test.choice,
            test.algorithm_bytes_per_s / 1e9, test.bus_bytes_per_s / 1e9,
        )  # fmt: skip
    clock.advance(run.startup.detect)
    logger.info("Detected %s x %s", f"{layout.world_size:,}", run.gpu.product)
    for rank in range(min(layout.world_size, GPUS_LISTED)):
        node, local = divmod(rank, layout.gpus_per_node)
        logger.info(
            "  rank %2d | %s%d GPU %d | %s | %s",
            rank, cluster.host, node, local, run.gpu.product, gib_text(run.gpu.memory_bytes),
        )  # fmt: skip
    if layout.world_size > GPUS_LISTED:
        logger.info("  ... and %s more GPUs", f"{layout.world_size - GPUS_LISTED:,}")
    if run.config.faults.rate:
        logger.info(
            "Faults: %g per GPU-hour (faults.rate) are drawn for --plan alone; this run goes on without them",
            run.config.faults.rate,
        )
