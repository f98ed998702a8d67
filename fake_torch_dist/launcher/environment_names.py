"""Names of the environment variables that the launcher, the ranks and both packages read or set.

Variables of other programs (``PET_*``, ``RANK``, ``OMP_NUM_THREADS``) are not here: each is used in one place.
"""

from __future__ import annotations

from typing import Final

# Ours, for jobs.
TOKEN: Final = "FAKE_TORCH_DIST_TOKEN"
"""Secret that all processes of a job share."""
TOKEN_FILE: Final = "FAKE_TORCH_DIST_TOKEN_FILE"
"""Path of a file with that secret, such as a mounted one; it is read if the other variable is not set."""
STORE: Final = "FAKE_TORCH_DIST_STORE"
"""``HOST:PORT`` of the launcher's store. At MASTER_PORT rank 0 of a torch script starts torch's own."""

TERMINATION_LOG: Final = "FAKE_TORCHRUN_TERMINATION_LOG"
"""Path of the file that gets the reason of a failure; in a pod, which names another than Kubernetes's default."""
READY_FILE: Final = "FAKE_TORCHRUN_READY_FILE"
"""Path of a file that exists while the ranks of a launcher run, for readiness probes."""

# Ours, for ranks of fake-torchrun.
NODE: Final = "FAKE_TORCHRUN_NODE"
"""Host name of the emulated node that the rank runs on."""
HOSTS: Final = "FAKE_TORCHRUN_HOSTS"
"""Host names of all nodes, in order and separated by commas, if each node has a command of its own."""
TERMINAL: Final = "FAKE_TORCHRUN_TERMINAL"
"""Path of the terminal that shows the output of rank 0; set for rank 0 only."""
PREFIX_COLUMNS: Final = "FAKE_TORCHRUN_PREFIX_COLUMNS"
"""Columns of the terminal that the prefix takes from each line of rank 0."""
COLOR: Final = "FAKE_TORCHRUN_COLOR"
"""``1`` if the output of ranks is shown on a terminal that takes colours."""
KEYS: Final = "FAKE_TORCHRUN_KEYS"
"""Name of the socket over which rank 0 gets the keys that are pressed on the launcher's terminal, if it connects."""
RANKS_PER_PROCESS: Final = "FAKE_TORCHRUN_RANKS_PER_PROCESS"
"""Number of ranks that each process plays, if it is more than one; RANK, WORLD_SIZE and so on count processes."""
OF_RANKS: Final = (STORE, NODE, HOSTS, TERMINAL, PREFIX_COLUMNS, COLOR, KEYS, RANKS_PER_PROCESS)
"""Variables that a rank has from its own launcher only, and never inherits from a launcher above that."""

# torchrun's.
RESTART_COUNT: Final = "TORCHELASTIC_RESTART_COUNT"
MAX_RESTARTS: Final = "TORCHELASTIC_MAX_RESTARTS"
RUN_ID: Final = "TORCHELASTIC_RUN_ID"
USE_AGENT_STORE: Final = "TORCHELASTIC_USE_AGENT_STORE"
"""``True`` if the store at MASTER_ADDR and MASTER_PORT is served by the launcher."""
SIGNALS_TO_HANDLE: Final = "TORCHELASTIC_SIGNALS_TO_HANDLE"
ERROR_FILE: Final = "TORCHELASTIC_ERROR_FILE"
"""File to which a process writes the exception that ends it, for the launcher that started it."""
LOG_LINE_PREFIX_TEMPLATE: Final = "TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE"
