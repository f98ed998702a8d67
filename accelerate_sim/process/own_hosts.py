"""The names of the machines that a job runs on, for ``cluster.host: auto``.

They come from fake-torchrun, from Slurm's list of nodes, or from the name of this host: pods and machines are often
numbered, so that the names of the others follow from it.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from accelerate_sim.config.host_names import AUTO, listed_hosts
from accelerate_sim.config.sections.cluster import ClusterConfig
from fake_torch_dist.launcher.environment_names import HOSTS, NODE

if TYPE_CHECKING:
    from accelerate_sim.config.load import ConfigSource

_NODE_LISTS = ("SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST")


def with_own_hosts(source: ConfigSource, environ: Mapping[str, str] = os.environ) -> ConfigSource:
    """``source`` with the names of these machines, if its key ``cluster.host`` is ``auto``."""
    cluster: Any = source.data.get("cluster")
    if not isinstance(cluster, Mapping) or cluster.get("host") != AUTO:
        return source
    nodes = cluster.get("nodes", ClusterConfig().nodes)
    return source.with_cluster({"host": own_hosts(environ, nodes if isinstance(nodes, int) else 1)}, "environment")


def own_hosts(environ: Mapping[str, str], nodes: int) -> str:
    """The value of ``cluster.host`` for a job of so many nodes, on one of which this process runs as the first."""
    if environ.get(NODE):  # emulated by fake-torchrun
        return environ[NODE].rstrip("0123456789") or "node"
    for name in (HOSTS, *_NODE_LISTS):
        listed = environ.get(name, "")
        if listed and len(listed_hosts(f"{listed},")) == nodes:
            return f"{listed},"
    own = (environ.get("SLURMD_NODENAME") or socket.gethostname()).partition(".")[0]
    if nodes == 1:
        return f"{own},"
    numbered = re.fullmatch(r"(.*\D)(0+)", own)  # the first of several: node-0, gpu000
    if not numbered:
        return f"{own}-"
    stem, zeros = numbered.groups()
    return f"{stem}[{zeros}-{nodes - 1:0{len(zeros)}d}]"
