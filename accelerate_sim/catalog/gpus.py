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
    "cdna": (39.0, 39.0, 42.0, 53.0, 72.0, 94.0, 110.0),
}
"""Start-up times in microseconds of 8 A100, 8 H200 and 8 B200 (ml-engineering, S. Bekman, 2025), for GPUs that were not
measured; AMD's are assumed to be the H200's."""


class Driver(Entry):
    """A driver and the CUDA version that it brings."""

    version: str = Field(description="Version that nvidia-smi prints.")
    cuda: str = Field(description="Highest CUDA version that the driver supports.")

    @property
    def major(self) -> int:
        """The branch of the driver, e.g. 550."""
        return int(self.version.partition(".")[0])


HOPPER_DRIVER = Driver(version="550.90.12", cuda="12.4")
"""The newest driver that NCCL 2.21 and CUDA 12.4 were built for; boards that the catalog gives no other one have it."""


DRIVERS = {
    550: HOPPER_DRIVER,
    570: Driver(version="570.124.06", cuda="12.8"),
    580: Driver(version="580.65.06", cuda="13.0"),
    590: Driver(version="590.48.01", cuda="13.1"),
    610: Driver(version="610.57.04", cuda="13.3"),
}
"""A driver of each branch whose tool is known."""
LAST_OF_VOLTA = 580
"""The last branch that supports Volta."""


class Board(Entry):
    """Facts of an NVIDIA board that nvidia-smi prints and that nothing is predicted from."""

    architecture: str = Field(description="Name that nvidia-smi prints, e.g. Hopper.")
    compute_capability: str = Field(description="CUDA compute capability, e.g. 9.0.")
    device_id: int = Field(ge=0, le=0xFFFF, description="PCI device identifier.")
    memory_clock_mhz: int = Field(gt=0, description="Memory clock under load.")
    idle_clock_mhz: int = Field(gt=0, description="Clock of the compute units without any process.")
    reserved_mib: int = Field(ge=0, description="Memory that the driver keeps for itself.")
    vbios: str = Field(description="Version of the board's firmware.")
    pcie_generation: int = Field(5, ge=1, description="Generation of the PCIe link.")
    brand: str = Field("NVIDIA", description="Product brand that nvidia-smi prints.")
    inforom: tuple[str, str, str] | None = Field(
        None, description="Versions of the inforom's image, OEM and ECC objects; none: not known."
    )
    part_number: str | None = Field(None, description="Part number of the board; none: not known.")
    gpu_part: str = Field("885-A1", description="Part number of the chip, after its device identifier.")
    subsystem_id: int = Field(0x16C1, ge=0, le=0xFFFF, description="PCI subsystem identifier.")
    remap_banks: int = Field(0, ge=0, description="Memory banks whose rows can be remapped; 0: none.")
    has_ecc: bool = Field(True, description="Memory has error correction; boards without it have fans.")
    is_superchip: bool = Field(False, description="The GPU sits beside a CPU that shares its memory.")
    driver: Driver = Field(HOPPER_DRIVER, description="Driver that the machine runs.")

    @property
    def has_mig(self) -> bool:
        """True where the board can be split into instances (MIG)."""
        return self.has_ecc and self.architecture in ("Ampere", "Hopper", "Blackwell")

    @property
    def has_temperature_margin(self) -> bool:
        """True where limits are given as kelvins to go ("T.Limit") instead of temperatures."""
        return self.architecture in ("Hopper", "Blackwell")


class GpuSpec(Entry):
    """One accelerator, in its usual server."""

    name: str = Field(description="Key in gpus.yaml, e.g. H100-SXM.")
    product: str = Field(description="Name that nvidia-smi (or amd-smi) prints.")
    vendor: str
    generation: Literal["ampere", "hopper", "blackwell", "cdna"] = Field(
        description="Generation whose fitted kernels it runs; NVIDIA's before Ampere run as Ampere, Ada as Hopper."
    )
    bf16_flops: float = Field(gt=0, description="Peak dense bf16 tensor FLOP/s.")
    fp8_flops: float | None = Field(gt=0, description="Peak dense fp8 FLOP/s; none: no fp8 units.")
    fp4_flops: float | None = Field(None, gt=0, description="Peak dense nvfp4 FLOP/s; none: no fp4 units.")
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
    board: Board | None = Field(None, description="Facts that nvidia-smi prints; none: not an NVIDIA board.")
    year: int = Field(description="Year of release.")
    source: str = Field(min_length=1, description="Data sheets and measurements.")
    note: str = Field("", description="Which figures are estimates, and other caveats.")


_GPUS = Entries("gpu", GpuSpec, "gpus.yaml")


def gpu(name: str) -> GpuSpec:
    """Return the accelerator called ``name``, in any case; raise ``UnknownName`` if none."""
    return _GPUS.get(name)


def with_driver(spec: GpuSpec, branch: int | None) -> GpuSpec:
    """Return the accelerator with the driver of ``branch``; None: its own."""
    if branch is None or spec.board is None:
        return spec
    return spec.model_copy(update={"board": spec.board.model_copy(update={"driver": DRIVERS[branch]})})


def gpu_names() -> list[str]:
    """Return the names of all accelerators, about in order of age."""
    return _GPUS.names()
