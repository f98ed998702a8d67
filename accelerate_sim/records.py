"""What a run reports: the one vocabulary between those who make figures and those who show or keep them.

Figures are rounded here, once, so that the screen, the log and the metrics file cannot disagree. Steps and epochs count
from 1. Seconds, bytes and watts are SI; shares are 0..1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.float64]"


@dataclass(frozen=True, slots=True)
class StartRecord:
    """A run begins."""

    run: int
    seed: int
    start_time: str
    config: Mapping[str, Any]
    """The resolved config."""
    plan: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StepRecord:
    """An optimizer step is done."""

    run: int
    epoch: int
    step: int
    time: datetime
    elapsed_s: float
    """Since the first step began; validations and checkpoints included."""
    step_time_s: float
    loss: float
    perplexity: float
    grad_norm: float
    """Before clipping."""
    lr: float
    global_batch: int
    """Sequences in this step."""
    tokens: int
    """Trained on so far."""
    tokens_per_s: float
    mfu: float
    memory_used_bytes: int
    """On the GPU of the rank that reports."""
    load_balancing_loss: float | None = None
    """Loss of the experts' router, 1 where they get as many tokens each; None for a model without experts."""


@dataclass(frozen=True, slots=True)
class GpuRecord:
    """All GPUs at the end of a step, or early in what comes after it; every array is [GPUs] in rank order."""

    run: int
    step: int
    gpus_per_node: int
    memory_total_bytes: int
    power_limit_w: float
    slowdown_temperature_c: float
    utilization_pct: Floats
    memory_used_bytes: NDArray[np.int64]
    temperature_c: Floats
    power_w: Floats
    sm_clock_mhz: Floats
    phase: str
    """What the cluster does: startup, step, validation, checkpoint or export."""
    elapsed_s: float
    """Since the first step began; below 0 in the start-up."""


@dataclass(frozen=True, slots=True)
class DeviceIdentity:
    """Which GPU it is, whatever runs on it."""

    host: str
    index: int
    """On its host, from 0."""
    uuid: str
    bus_id: str


@dataclass(frozen=True, slots=True)
class DeviceRecord:
    """All GPUs as a monitoring agent reads them now; every array is [GPUs] in rank order, memory in MiB."""

    identities: tuple[DeviceIdentity, ...]
    """The same object in every record of a run."""
    product: str
    driver_version: str
    utilization_pct: NDArray[np.int64]
    memory_utilization_pct: NDArray[np.int64]
    memory_busy_share: Floats
    memory_used_mib: NDArray[np.int64]
    memory_reserved_mib: NDArray[np.int64]
    memory_total_mib: int
    temperature_c: NDArray[np.int64]
    memory_temperature_c: NDArray[np.int64]
    power_w: Floats
    energy_j: Floats
    """Since the run began."""
    sm_clock_mhz: NDArray[np.int64]
    memory_clock_mhz: int
    tensor_active: float
    """Share of the cycles in which tensor cores work."""
    nvlink_bytes: int
    """Sent and received by each GPU since the run began."""
    pcie_bytes_per_s: int
    """Of each GPU and direction."""


@dataclass(frozen=True, slots=True)
class CollectiveRecord:
    """A timed collective."""

    run: int
    step: int
    collective: str
    axis: str
    algorithm: str
    """As NCCL calls it: Ring, Tree, NVLS, NVLSTree; P2P where ranks send to each other."""
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
    """Something is wrong with one rank. ``figures`` are the numbers that the message speaks of."""

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
    """(name, bytes)."""
    bytes: int
    """Of the weights, all shards together."""
    seconds: float


@dataclass(frozen=True, slots=True)
class SummaryRecord:
    """A run is over."""

    run: int
    model: str
    parameters: int
    gpus: int
    gpu: str
    total_time_s: float
    """Start-up and export included."""
    train_time_s: float
    """From the first step to the last validation."""
    epochs: int
    steps: int
    tokens: int
    final_loss: float
    final_perplexity: float
    best_loss: float
    """Lowest validation loss."""
    best_perplexity: float
    mean_tokens_per_s: float
    """While stepping."""
    mean_mfu: float
    mean_gpu_utilization_pct: float
    peak_memory_bytes: int
    energy_j: float
    """Of the GPUs."""
    export_path: str
    export_bytes: int


Record: TypeAlias = (
    StartRecord
    | StepRecord
    | GpuRecord
    | CollectiveRecord
    | WarningRecord
    | EvalRecord
    | CheckpointRecord
    | ExportRecord
    | SummaryRecord
)
