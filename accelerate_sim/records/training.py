"""Records of a run that trains: its start, steps, validations, checkpoints, warnings, export and summary.

The metrics file holds all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class StartRecord:
    """A run begins; a run that is resumed reports none."""

    run: int
    seed: int
    start_time: str
    config: Mapping[str, Any]
    """All sections and keys, with defaults filled in."""
    plan: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StepRecord:
    """An optimizer step is done."""

    run: int
    epoch: int
    step: int
    time: datetime
    elapsed_s: float
    """Seconds since the first step began, validations and checkpoints included."""
    step_time_s: float
    loss: float
    perplexity: float
    grad_norm: float
    """Norm of the gradients before clipping."""
    lr: float
    global_batch: int
    """Sequences in this step."""
    tokens: int
    """Tokens trained on since the run began, this step included."""
    tokens_per_s: float
    mfu: float
    memory_used_bytes: int
    """Memory in use on the GPU of the rank that reports."""
    load_balancing_loss: float | None = None
    """Loss of the experts' router, 1 where they get as many tokens each; None for a model without experts."""
    loss_scale: float | None = None
    """Scale of an fp16 loss after the step; None, as the next, unless the config plays an overflow."""
    skipped: bool | None = None
    """True if the gradients overflowed and the optimizer has left the weights as they were."""


@dataclass(frozen=True, slots=True)
class RankStepRecord:
    """A rank has done its part of an optimizer step; ``time`` is when it did, before those it waits for."""

    step: int
    rank: int
    node: int
    time: datetime
    loss: float
    """Mean loss of the rank's own micro-batches, before it is averaged over the replicas."""
    memory_used_bytes: int
    """Memory in use on the rank's GPU."""
    data_wait_s: float
    """Time for which the rank has waited for its batches."""
    node_tokens_per_s: float
    """Tokens per second of the rank's node since it did its part of the step before, pauses between steps aside."""


@dataclass(frozen=True, slots=True)
class CollectiveRecord:
    """A collective has been timed."""

    run: int
    step: int
    collective: str
    axis: str
    algorithm: str
    """Ring, Tree, NVLS or NVLSTree, as NCCL calls it; P2P where ranks send to each other."""
    protocol: str
    """LL, LL128 or Simple."""
    bytes: int
    ranks: int
    nodes: int
    seconds: float
    algbw_bytes_per_s: float
    busbw_bytes_per_s: float


@dataclass(frozen=True, slots=True)
class WarningRecord:
    """Something is wrong with one rank. ``figures`` are the numbers in the message."""

    run: int
    step: int
    rank: int
    kind: str
    message: str
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class EvalRecord:
    """A validation is done."""

    run: int
    epoch: int
    step: int
    loss: float
    perplexity: float
    seconds: float
    best: bool


@dataclass(frozen=True, slots=True)
class CheckpointRecord:
    """A training state is written."""

    run: int
    step: int
    path: str
    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ExportRecord:
    """The model is exported."""

    run: int
    path: str
    files: tuple[tuple[str, int], ...]
    """(name, size in bytes) of each file."""
    bytes: int
    """Size of all weight files together."""
    seconds: float
    weight_files: int


@dataclass(frozen=True, slots=True)
class SummaryRecord:
    """A run is over."""

    run: int
    model: str
    parameters: int
    gpus: int
    gpu: str
    total_time_s: float
    """Seconds from start-up to the end of the export."""
    train_time_s: float
    """Seconds from the first step to the last validation."""
    epochs: int
    steps: int
    tokens: int
    final_loss: float
    final_perplexity: float
    best_loss: float
    """Lowest validation loss."""
    best_perplexity: float
    mean_tokens_per_s: float
    """Throughput over the time of all steps."""
    mean_mfu: float
    mean_gpu_utilization_pct: float
    peak_memory_bytes: int
    energy_j: float
    """Energy that all GPUs have used."""
    export_path: str
    export_bytes: int
    attempts: int | None = None
    """Starts of the job; None, as the next two, for a run without faults."""
    lost_steps: int | None = None
    """Steps that were made again after a restart."""
    goodput: float | None = None
    """Time of the steps that count, over the time from the first step to the end of the export, 0..1."""


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """The job has been started again, and goes on after a step."""

    run: int
    step: int
    """Steps that the checkpoint holds from which it goes on; 0: the run begins anew."""
    time: datetime
    elapsed_s: float
    """Seconds since the first step of the run began."""
