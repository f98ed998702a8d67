"""The board facts that nvidia-smi prints, and the driver that goes with them: keys of ``catalog/gpus.yaml``."""

from accelerate_sim.catalog import GpuSpec
from accelerate_sim.catalog.gpus import HOPPER_DRIVER, Board, Driver

__all__ = ["HOPPER_DRIVER", "Board", "Driver", "board_of"]


def board_of(gpu: GpuSpec) -> Board | None:
    """Return the board of a catalog entry; None for GPUs that are not NVIDIA's."""
    return gpu.board
