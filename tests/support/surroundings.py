"""Takes the variables away that tell our programs where they run: under a launcher, in a CI job, on which terminal.

The tests run in such places, too, and each says itself where its programs are.
"""

from __future__ import annotations

import os

from fake_torch_dist.launcher.environment_names import OF_RANKS
from fake_torch_dist.terminal.descriptor import NOTEBOOK_KERNEL

NAMES = {
    *OF_RANKS,
    "CI", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "PYTHONSTARTUP", "NCCL_DEBUG", "TORCH_DISTRIBUTED_DEBUG",
    "LOGLEVEL", "OMP_NUM_THREADS", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "NODE_RANK",
    "MASTER_ADDR", "MASTER_PORT", "JOB_COMPLETION_INDEX", "LSB_JOBID", NOTEBOOK_KERNEL,
}  # fmt: skip
PREFIXES = (
    "PET_", "TORCHELASTIC_", "FAKE_TORCH_DIST_", "ACCELERATE_", "SLURM_", "SLURMD_", "OMPI_", "PMI_", "PMIX_", "MPI_",
    "MV2_", "JSM_", "FLUX_", "HOROVOD_", "PALS_", "ALPS_",
)  # fmt: skip


def forget_surroundings() -> None:
    """Remove the variables from the environment of this process, and so of all that it starts."""
    for name in list(os.environ):
        if name in NAMES or name.startswith(PREFIXES):
            del os.environ[name]
