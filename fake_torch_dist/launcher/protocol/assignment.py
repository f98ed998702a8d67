"""One node's part in one attempt of a job: its ranks, the world they are in, and where they meet."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeAssignment:
    """Ranks and addresses of one node in one attempt of a job."""

    attempt: int
    """Number of earlier starts of the ranks, for any reason."""
    restarts: int
    """Number of earlier starts that followed a failure."""
    group_rank: int
    num_nodes: int
    first_rank: int
    world_size: int
    master_addr: str
    master_port: int
    run_id: str
    store: str
    """``HOST:PORT`` of the launcher's store."""
    token: str
    node: str
    """Host name of an emulated node; empty for a real one."""
    hosts: str = ""
    """Host names of all real nodes, separated by commas; empty if there is one, or they are emulated."""
