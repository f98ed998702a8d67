"""The environment of a rank: torchrun's variables, and further ones that both packages read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from fake_torch_dist.launcher import environment_names as names
from fake_torch_dist.launcher.commandline.config import LaunchConfig
from fake_torch_dist.launcher.protocol.assignment import NodeAssignment


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[tuple[str, str | None]]:
    """Return the changes that make ``before`` into ``after``: new values, and None for variables that go."""
    gone: list[tuple[str, str | None]] = [(name, None) for name in before if name not in after]
    return gone + [(name, value) for name, value in after.items() if before.get(name) != value]


def change_environment(changes: Iterable[tuple[str, str | None]]) -> None:
    """Apply ``changes`` to this process's variables."""
    for name, value in changes:
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


def rank_environment(
    config: LaunchConfig,
    assignment: NodeAssignment,
    local_rank: int,
    error_file: str,
    *,
    terminal: str | None = None,
    prefix_columns: int = 0,
    color: bool = False,
    keys: str | None = None,
    base: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return all variables of a rank; ``base`` is what it inherits (default: this process's environment)."""
    inherited = os.environ if base is None else base
    variables = {name: value for name, value in inherited.items() if name not in names.OF_RANKS}
    rank = assignment.first_rank + local_rank
    variables |= {
        "LOCAL_RANK": str(local_rank),
        "RANK": str(rank),
        "GROUP_RANK": str(assignment.group_rank),
        "ROLE_RANK": str(rank),
        "ROLE_NAME": config.role,
        "LOCAL_WORLD_SIZE": str(config.nproc_per_node),
        "WORLD_SIZE": str(assignment.world_size),
        "GROUP_WORLD_SIZE": str(assignment.num_nodes),
        "ROLE_WORLD_SIZE": str(assignment.world_size),
        "MASTER_ADDR": assignment.master_addr,
        "MASTER_PORT": str(assignment.master_port),
        names.RESTART_COUNT: str(assignment.restarts),
        names.MAX_RESTARTS: str(config.max_restarts),
        names.RUN_ID: assignment.run_id,
        # torchrun sets True. A torch script would then look for torch's store in this launcher.
        names.USE_AGENT_STORE: "False",
        names.SIGNALS_TO_HANDLE: ",".join(number.name for number in config.signals),
        names.ERROR_FILE: error_file,
        "TORCH_NCCL_ASYNC_ERROR_HANDLING": variables.get("TORCH_NCCL_ASYNC_ERROR_HANDLING", "1"),
        names.STORE: assignment.store,
        names.TOKEN: assignment.token,
    }
    if config.virtual_local_rank:
        devices = variables.get("CUDA_VISIBLE_DEVICES", "").split(",")
        device = devices[local_rank] if local_rank < len(devices) and devices[0] else str(local_rank)
        variables |= {"LOCAL_RANK": "0", "CUDA_VISIBLE_DEVICES": device}
    if config.emulated:
        variables |= {names.NODE: assignment.node, "HOSTNAME": assignment.node}
        # All nodes are this host, so gloo need not look up the address of a name, which may not exist.
        variables.setdefault("GLOO_SOCKET_IFNAME", "lo")
    if config.ranks_per_process > 1:
        variables[names.RANKS_PER_PROCESS] = str(config.ranks_per_process)
    if assignment.hosts:
        variables[names.HOSTS] = assignment.hosts
    if terminal and rank == 0:
        variables[names.TERMINAL] = terminal
        if prefix_columns:
            variables[names.PREFIX_COLUMNS] = str(prefix_columns)
    if keys and rank == 0:
        variables[names.KEYS] = keys
    if color:
        variables[names.COLOR] = "1"
    return variables
