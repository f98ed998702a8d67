"""The records that a run reports: the interface between the code that computes figures and the code that shows them.

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
    """The beginning of a run."""

    run: int
    seed: int
    start_time: str
    config: Mapping[str, Any]
    """The resolved config."""
    plan: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A completed optimizer step."""

    run: int
    epoch: int
    step: int
    time: datetime
    elapsed_s: float
    """Simulated seconds since the first step began, validations and checkpoints included."""
    step_time_s: float
    loss: float
    perplexity: float
    grad_norm: float
    """Norm of the gradients before clipping."""
    lr: float
    global_batch: int
    """Number of sequences in this step."""
    tokens: int
    """Number of tokens that the run has trained on so far."""
    tokens_per_s: float
    mfu: float
    memory_used_bytes: int
    """Memory in use on the GPU of the rank that reports."""


@dataclass(frozen=True, slots=True)
class GpuRecord:
    """All GPUs at the end of a step, or early in a phase after it. Arrays have an entry for each rank, in order."""

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
    """The phase of the run: startup, step, validation, checkpoint or export."""
    elapsed_s: float
    """Simulated seconds since the first step began; below 0 in the start-up."""


@dataclass(frozen=True, slots=True)
class DeviceIdentity:
    """The identity of a GPU."""

    host: str
    index: int
    """Index of the GPU on its host, from 0."""
    uuid: str
    bus_id: str


@dataclass(frozen=True, slots=True)
class DeviceRecord:
    """All GPUs as a monitoring agent reads them. Arrays have an entry for each rank, in order; memory is in MiB."""

    identities: tuple[DeviceIdentity, ...]
    """Identities in rank order; the same object in every record of a run."""
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
    """Energy of each GPU since the run began."""
    sm_clock_mhz: NDArray[np.int64]
    memory_clock_mhz: int
    tensor_active: float
    """Share of the cycles in which the tensor cores work."""
    nvlink_bytes: int
    """Bytes that each GPU has sent and received since the run began."""
    pcie_bytes_per_s: int
    """Rate of each GPU in each direction."""


@dataclass(frozen=True, slots=True)
class CollectiveRecord:
    """A timed collective."""

    run: int
    step: int
    collective: str
    axis: str
    algorithm: str
    """Name of the algorithm in NCCL: Ring, Tree, NVLS, NVLSTree; P2P for sends between two ranks."""
    protocol: str
    """Name of the protocol in NCCL: LL, LL128 or Simple."""
    bytes: int
    ranks: int
    nodes: int
    seconds: float
    algbw_bytes_per_s: float
    busbw_bytes_per_s: float


@dataclass(frozen=True, slots=True)
class WarningRecord:
    """A warning about one rank. ``figures`` are the numbers in its message."""

    run: int
    step: int
    rank: int
    kind: str
    message: str
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class EvalRecord:
    """A completed validation."""

    run: int
    epoch: int
    step: int
    loss: float
    perplexity: float
    seconds: float
    best: bool


@dataclass(frozen=True, slots=True)
class CheckpointRecord:
    """A written checkpoint."""

    run: int
    step: int
    path: str
    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ExportRecord:
    """The exported model."""

    run: int
    path: str
    files: tuple[tuple[str, int], ...]
    """(name, bytes) of each file."""
    bytes: int
    """Size of the weights, all shards together."""
    seconds: float


@dataclass(frozen=True, slots=True)
class SummaryRecord:
    """The summary of a run that is over."""

    run: int
    model: str
    parameters: int
    gpus: int
    gpu: str
    total_time_s: float
    """Duration of the run, start-up and export included."""
    train_time_s: float
    """Duration from the first step to the last validation."""
    epochs: int
    steps: int
    tokens: int
    final_loss: float
    final_perplexity: float
    best_loss: float
    """The lowest validation loss."""
    best_perplexity: float
    mean_tokens_per_s: float
    """Mean throughput of the steps."""
    mean_mfu: float
    mean_gpu_utilization_pct: float
    peak_memory_bytes: int
    energy_j: float
    """Energy of all GPUs."""
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
