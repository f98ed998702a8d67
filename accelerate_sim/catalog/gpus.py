"""Accelerators: data-sheet figures and what was measured on them, in SI units.

Peaks are dense: the doubled figures that data sheets give for structured sparsity are not used.
"""

from typing import Literal

from pydantic import Field

from accelerate_sim.catalog.entries import Entries, Entry

USUAL_STARTUP_US = {
    "ampere": (45.0, 45.0, 85.0, 85.0, 150.0, 200.0, 330.0),
    "hopper": (39.0, 39.0, 42.0, 53.0, 72.0, 94.0, 110.0),
    "blackwell": (51.0, 51.0, 51.0, 84.0, 84.0, 128.0, 128.0),
}
"""Start-up times of 8 A100, 8 H200 and 8 B200 (ml-engineering, S. Bekman, 2025), for GPUs that were not measured."""


class GpuSpec(Entry):
    """One accelerator, in its usual server."""

    name: str = Field(description="Key in gpus.yaml, e.g. H100-SXM.")
    product: str = Field(description="Name that nvidia-smi (or amd-smi) prints.")
    vendor: str
    generation: Literal["ampere", "hopper", "blackwell"] = Field(
        description="Whose kernels it runs like, as far as that was fitted: older ones as Ampere, AMD's as Hopper."
    )
    bf16_flops: float = Field(gt=0, description="Peak dense bf16 tensor FLOP/s.")
    fp8_flops: float | None = Field(gt=0, description="Peak dense fp8 FLOP/s; none: no fp8 units.")
    matmul_flops: float = Field(gt=0, description="Best measured bf16 matrix product, FLOP/s.")
    fp8_matmul_flops: float | None = Field(None, gt=0, description="The same in fp8; none: not measured.")
    processors: int = Field(gt=0, description="Streaming multiprocessors or compute units.")
    memory_bytes: int = Field(gt=0, description="Device memory that the driver shows.")
    memory_bytes_per_s: float = Field(gt=0, description="Peak device memory bandwidth.")
    nvlink_bytes_per_s: float | None = Field(
        gt=0, description="NVLink or xGMI per GPU, each direction; none: PCIe only."
    )
    pcie_bytes_per_s: float = Field(gt=0, description="Host link, each direction.")
    collective_startup_us: tuple[float, ...] = Field(
        default_factory=lambda known: USUAL_STARTUP_US[known.get("generation", "hopper")],
        description="What an all-reduce of a node takes beyond moving its bytes, at 4, 64 KiB, 1, 4, 16, 64, 256 MiB.",
    )
    power_limit_w: float = Field(gt=0, description="Default board power limit.")
    idle_w: float = Field(gt=0, description="Board power without any process.")
    max_clock_mhz: int = Field(gt=0, description="Highest boost clock of the compute units.")
    slowdown_temperature_c: float = Field(gt=0, description="Where clocks start to be cut.")
    nvlink_domain: int = Field(ge=1, description="GPUs that reach each other over NVLink.")
    nic_gbps: float = Field(gt=0, description="Network per GPU in the usual build, Gbit/s.")
    gpus_per_node: int = Field(ge=1, description="GPUs in the usual server.")
    year: int = Field(description="Year of release.")
    source: str = Field(min_length=1, description="Data sheets and measurements.")
    note: str = Field("", description="Which figures are estimates, and other caveats.")


_GPUS = Entries("gpu", GpuSpec, "gpus.yaml")


def gpu(name: str) -> GpuSpec:
    """Return the accelerator called ``name``, in any case; raise ``UnknownName`` if none."""
    return _GPUS.get(name)


def gpu_names() -> list[str]:
    """Return the names of all accelerators, about in order of age."""
    return _GPUS.names()
