"""Facts that nvidia-smi prints of a board and that the catalog lacks, and the driver of each board.

They are taken from published logs of the tool. Reserved memory and clocks of boards without a published log (H100 with
96 GB, H20, GB200, B300, GB300) are those of their nearest relative; PCI device ids are those of the PCI ID repository.
"""

from dataclasses import dataclass

from accelerate_sim.catalog import GpuSpec


@dataclass(frozen=True, slots=True)
class Driver:
    """A driver and the CUDA version that comes with it."""

    version: str
    cuda: str

    @property
    def major(self) -> int:
        return int(self.version.partition(".")[0])


HOPPER_DRIVER = Driver("550.90.12", "12.4")
"""The newest driver for which NCCL 2.21 and CUDA 12.4 were built."""
BLACKWELL_DRIVER = Driver("570.124.06", "12.8")
ULTRA_DRIVER = Driver("580.65.06", "13.0")
"""The first driver that supports B300."""


@dataclass(frozen=True, slots=True)
class Board:
    """Facts of one product."""

    architecture: str
    compute_capability: str
    device_id: int
    memory_clock_mhz: int
    idle_clock_mhz: int
    reserved_mib: int
    """Memory that the driver reserves for itself, in MiB."""
    vbios: str
    pcie_generation: int = 5
    brand: str = "NVIDIA"
    has_ecc: bool = True
    """False for boards without ECC, which also have fans."""
    is_superchip: bool = False
    """True if the board is coupled with a CPU that shares its memory."""
    driver: Driver = HOPPER_DRIVER

    @property
    def has_mig(self) -> bool:
        return self.has_ecc and self.architecture in ("Ampere", "Hopper", "Blackwell")

    @property
    def has_temperature_margin(self) -> bool:
        """True if temperature limits are printed as the kelvins that remain ("T.Limit")."""
        return self.architecture in ("Hopper", "Blackwell")


_BOARDS = {
    "V100-32-SXM": Board("Volta", "7.0", 0x1DB5, 877, 135, 338, "88.00.4F.00.09", 3, "Tesla"),
    "A100-40-SXM": Board("Ampere", "8.0", 0x20B0, 1215, 210, 571, "92.00.19.00.01", 4),
    "A100-80-SXM": Board("Ampere", "8.0", 0x20B2, 1593, 210, 869, "92.00.36.00.02", 4),
    "A100-80-PCIe": Board("Ampere", "8.0", 0x20B5, 1512, 210, 869, "92.00.68.00.01", 4),
    "RTX-4090": Board("Ada Lovelace", "8.9", 0x2684, 10501, 210, 369, "95.02.3C.00.01", 4, "GeForce", has_ecc=False),
    "L40S": Board("Ada Lovelace", "8.9", 0x26B9, 9001, 210, 591, "95.02.66.00.02", 4),
    "H100-PCIe": Board("Hopper", "9.0", 0x2331, 1593, 345, 551, "96.00.30.00.01"),
    "H100-SXM": Board("Hopper", "9.0", 0x2330, 2619, 345, 551, "96.00.89.00.01"),
    "H100-96-500W": Board("Hopper", "9.0", 0x2339, 1593, 345, 592, "96.00.89.00.01"),
    "H800": Board("Hopper", "9.0", 0x2324, 2619, 345, 551, "96.00.5E.00.01"),
    "GH200": Board("Hopper", "9.0", 0x2342, 2619, 345, 592, "96.00.84.00.02", is_superchip=True),
    "H20": Board("Hopper", "9.0", 0x2329, 2619, 345, 592, "96.00.A5.00.01"),
    "H200-SXM": Board("Hopper", "9.0", 0x2335, 3201, 345, 700, "96.00.A5.00.03"),
    "B200": Board("Blackwell", "10.0", 0x2901, 3996, 120, 812, "97.00.82.00.14", driver=BLACKWELL_DRIVER),
    "GB200": Board(
        "Blackwell", "10.0", 0x2941, 3996, 120, 812, "97.00.B9.00.10", is_superchip=True, driver=BLACKWELL_DRIVER
    ),
    "B300": Board("Blackwell", "10.3", 0x3182, 3996, 120, 930, "97.10.3E.00.01", driver=ULTRA_DRIVER),
    "GB300": Board(
        "Blackwell", "10.3", 0x31C2, 3996, 120, 930, "97.10.4C.00.02", is_superchip=True, driver=ULTRA_DRIVER
    ),
}


def board_of(gpu: GpuSpec) -> Board | None:
    """The board of a catalog entry; None for a GPU that is not NVIDIA's."""
    return _BOARDS.get(gpu.name)
