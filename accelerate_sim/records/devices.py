"""Records of the state of all GPUs at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from accelerate_sim.gpu_condition import Condition

Floats: TypeAlias = "NDArray[np.float64]"
"""An array of 64-bit floats."""


@dataclass(frozen=True, slots=True)
class GpuRecord:
    """All GPUs at the end of a step, or early in the phase that follows it; every array is [GPUs] in rank order."""

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
    """Phase of the run: startup, step, validation, checkpoint or export."""
    elapsed_s: float
    """Seconds since the first step began; below 0 in the start-up."""


@dataclass(frozen=True, slots=True)
class DeviceIdentity:
    """The identity of one GPU, which does not change while jobs come and go."""

    host: str
    index: int
    """Number of the GPU on its host, from 0."""
    uuid: str
    bus_id: str


@dataclass(frozen=True, slots=True)
class DeviceRecord:
    """All GPUs as a monitoring agent reads them now; every array is [GPUs] in rank order, memory in MiB."""

    identities: tuple[DeviceIdentity, ...]
    """Identity of each GPU; the same object in every record of a run."""
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
    """Joules since the run began."""
    sm_clock_mhz: NDArray[np.int64]
    memory_clock_mhz: int
    tensor_active: float
    """Share of the cycles in which tensor cores work, 0..1."""
    nvlink_bytes: int
    """Bytes sent and received by each GPU since the run began."""
    pcie_bytes_per_s: int
    """Rate of each GPU in each direction."""
    conditions: Mapping[int, Condition] | None = None
    """Condition of each GPU that is not healthy, by rank; None in a run in which no fault happens."""

    def of(self, ranks: range) -> DeviceRecord:
        """The GPUs of these ranks, which follow each other."""
        place = slice(ranks.start, ranks.stop)
        number = len(self.identities)
        kept = {each.name: getattr(self, each.name) for each in fields(self)}
        kept = {name: value[place] for name, value in kept.items() if getattr(value, "shape", None) == (number,)}
        conditions = self.conditions
        if conditions is not None:
            conditions = {rank - ranks.start: each for rank, each in conditions.items() if rank in ranks}
        return replace(self, identities=self.identities[place], conditions=conditions, **kept)
