"""Connects the cluster before the first step: the process group, a test of the links, the GPUs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from accelerate_sim.process.clock import Clock
from accelerate_sim.records import CheckpointingRecord, ConnectRecord, DetectRecord, LinkTestRecord, Record
from accelerate_sim.sim.run import Run


def connect(
    run: Run, clock: Clock, report: Callable[[Record], None], reach: Callable[[str], None], directory: Path
) -> None:
    """Initialise the process group, time an all-reduce and find the GPUs, each in its simulated time.

    ``reach`` is called with each place in the start-up before its line is logged. ``directory`` is that of the
    checkpoints.
    """
    clock.advance(run.startup.connect)
    reach("nccl")
    report(ConnectRecord(run.config.cluster.nccl_version, run.layout.describe()))
    clock.advance(run.startup.all_reduce_test)
    reach("warmup")
    if run.layout.world_size > 1:
        report(_link_test(run))
    clock.advance(run.startup.detect)
    if run.config.checkpoint.every:
        report(CheckpointingRecord(str(directory)))
    report(DetectRecord(run.config.faults.rate))


def _link_test(run: Run) -> LinkTestRecord:
    test = run.communication.test()
    return LinkTestRecord(
        test.choice.algorithm, test.choice.protocol, test.size_bytes, test.num_ranks, test.seconds,
        test.algorithm_bytes_per_s, test.bus_bytes_per_s,
    )  # fmt: skip
