"""``Reading``: the values that the driver of one node has at one moment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from accelerate_sim.gpu_condition import BRAKE as BRAKE
from accelerate_sim.gpu_condition import HW_THERMAL as HW_THERMAL
from accelerate_sim.gpu_condition import IDLE as IDLE
from accelerate_sim.gpu_condition import POWER_CAP as POWER_CAP
from accelerate_sim.gpu_condition import SLOWDOWN as SLOWDOWN
from accelerate_sim.gpu_condition import THERMAL as THERMAL
from accelerate_sim.monitoring.nvidia_smi.boards import Board
from accelerate_sim.monitoring.nvidia_smi.health import Health
from accelerate_sim.monitoring.nvidia_smi.slowed_time import SlowedTime

CONTEXT_MIB = 10
"""Memory in use that belongs to no process, in MiB."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU as the driver reports it; memory is in MiB."""

    index: int
    name: str
    uuid: str
    serial: str
    pci: tuple[int, int]
    """PCI domain and bus."""
    bus_id: str
    board: Board
    utilization_pct: int
    memory_utilization_pct: int
    total_mib: int
    used_mib: int
    temperature_c: int
    memory_temperature_c: int
    slowdown_c: int
    power_w: float
    power_limit_w: float
    clock_mhz: int
    max_clock_mhz: int
    reasons: int
    """Bits of the reasons why the clock is not higher."""
    pcie_kb_per_s: int
    """Traffic over PCIe in each direction."""
    nvlinks: int
    """Number of NVLinks of the board; 0: none."""
    pid: int
    command: str
    brand: str
    architecture: str
    """Name of the generation; what the board can do follows from that of ``board``."""
    health: Health
    slowed_time: Callable[[], SlowedTime]
    """The counters of slowed clocks, which only some outputs need and long runs take a while to add up."""

    @property
    def branch(self) -> int:
        """The branch of the driver, e.g. 550, which decides what is printed."""
        return self.board.driver.major

    @property
    def reserved_mib(self) -> int:
        return min(self.board.reserved_mib, self.total_mib - self.used_mib)

    @property
    def free_mib(self) -> int:
        return self.total_mib - self.used_mib - self.reserved_mib

    @property
    def used_bar1_mib(self) -> int:
        """Use of the window to the memory, into which drivers from 580 on map all that is allocated."""
        return self.used_mib + 1 if self.branch >= 580 else 4

    @property
    def process_mib(self) -> int:
        return max(self.used_mib - CONTEXT_MIB, 0)

    @property
    def has_process(self) -> bool:
        """True if the job has a context on the GPU."""
        return self.process_mib > 0


@dataclass(frozen=True, slots=True)
class Reading:
    """The GPUs of a node at one moment of simulated time."""

    time: datetime
    board: Board
    num_gpus: int
    gpus: tuple[Gpu, ...]
    """The GPUs that were asked for."""
    fabric: str
    """The network between machines: infiniband, roce or efa."""
    generic_names: bool = False
    """True if names of products are replaced by generic ones."""
