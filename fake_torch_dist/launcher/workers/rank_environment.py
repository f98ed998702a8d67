"""A rank's environment: torchrun's variables, and five of our own for the packages that know them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from fake_torch_dist.launcher.commandline.config import LaunchConfig
from fake_torch_dist.stores.authentication import TOKEN_VARIABLE

STORE_VARIABLE: Final = "FAKE_TORCH_DIST_STORE"
"""Where the launcher's store is. Not at MASTER_PORT: there rank 0 of a torch script starts torch's own."""
NODE_VARIABLE: Final = "FAKE_TORCHRUN_NODE"
TERMINAL_VARIABLE: Final = "FAKE_TORCHRUN_TERMINAL"
PREFIX_VARIABLE: Final = "FAKE_TORCHRUN_PREFIX_COLUMNS"
"""What of the terminal's width the lines of rank 0 don't have: the prefix stands there."""
COLOR_VARIABLE: Final = "FAKE_TORCHRUN_COLOR"
OURS: Final = (STORE_VARIABLE, NODE_VARIABLE, TERMINAL_VARIABLE, PREFIX_VARIABLE, COLOR_VARIABLE)


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeAssignment:
    """One node's place in one attempt of a job."""

    attempt: int
    """How many times the ranks were started before, for whatever reason."""
    restarts: int
    """How many of these times followed a failure."""
    group_rank: int
    num_nodes: int
    first_rank: int
    world_size: int
    master_addr: str
    master_port: int
    run_id: str
    store: str
    """host:port"""
    token: str
    node: str
    """Host name."""


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[tuple[str, str | None]]:
    """What makes ``before`` into ``after``: new values, and None for what goes."""
    gone: list[tuple[str, str | None]] = [(name, None) for name in before if name not in after]
    return gone + [(name, value) for name, value in after.items() if before.get(name) != value]


def change_environment(changes: Iterable[tuple[str, str | None]]) -> None:
    """Do so with this process's variables."""
    for name, value in changes:
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


def rank_environment(
    config: LaunchConfig,
    place: NodeAssignment,
    local_rank: int,
    error_file: str,
    *,
    terminal: str | None = None,
    prefix_columns: int = 0,
    color: bool = False,
    base: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """All variables of a rank; ``base`` is what it inherits (default: this process's environment)."""
    variables = {name: value for name, value in (os.environ if base is None else base).items() if name not in OURS}
    rank = place.first_rank + local_rank
    variables |= {
        "LOCAL_RANK": str(local_rank),
        "RANK": str(rank),
        "GROUP_RANK": str(place.group_rank),
        "ROLE_RANK": str(rank),
        "ROLE_NAME": config.role,
        "LOCAL_WORLD_SIZE": str(config.nproc_per_node),
        "WORLD_SIZE": str(place.world_size),
        "GROUP_WORLD_SIZE": str(place.num_nodes),
        "ROLE_WORLD_SIZE": str(place.world_size),
        "MASTER_ADDR": place.master_addr,
        "MASTER_PORT": str(place.master_port),
        "TORCHELASTIC_RESTART_COUNT": str(place.restarts),
        "TORCHELASTIC_MAX_RESTARTS": str(config.max_restarts),
        "TORCHELASTIC_RUN_ID": place.run_id,
        # torchrun says True. Then a torch script would look for torch's store in this launcher.
        "TORCHELASTIC_USE_AGENT_STORE": "False",
        "TORCHELASTIC_SIGNALS_TO_HANDLE": ",".join(number.name for number in config.signals),
        "TORCHELASTIC_ERROR_FILE": error_file,
        "TORCH_NCCL_ASYNC_ERROR_HANDLING": variables.get("TORCH_NCCL_ASYNC_ERROR_HANDLING", "1"),
        STORE_VARIABLE: place.store,
        TOKEN_VARIABLE: place.token,
    }
    if config.virtual_local_rank:
        devices = variables.get("CUDA_VISIBLE_DEVICES", "").split(",")
        device = devices[local_rank] if local_rank < len(devices) and devices[0] else str(local_rank)
        variables |= {"LOCAL_RANK": "0", "CUDA_VISIBLE_DEVICES": device}
    if config.emulated:
        variables |= {NODE_VARIABLE: place.node, "HOSTNAME": place.node}
        # All nodes are this host, so gloo need not look up the address of a name, which may be nobody's.
        variables.setdefault("GLOO_SOCKET_IFNAME", "lo")
    if terminal and rank == 0:
        variables[TERMINAL_VARIABLE] = terminal
        if prefix_columns:
            variables[PREFIX_VARIABLE] = str(prefix_columns)
    if color:
        variables[COLOR_VARIABLE] = "1"
    return variables
