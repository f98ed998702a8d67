"""An exporter on each node, as dcgm-exporter runs there: the first rank of the node serves the GPUs of its node.

The exporter of a machine's first node has the port of ``log.prometheus_address``, and each further node on the same
machine the next one.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from accelerate_sim.config.problems import ConfigError
from accelerate_sim.session.health import ailment

if TYPE_CHECKING:
    from accelerate_sim.config.sections.output import LogConfig
    from accelerate_sim.process.placement import Placement
    from accelerate_sim.session.session import Session

LAST_PORT = 65535


def served_ranks(log: LogConfig, placement: Placement | None) -> range | None:
    """The ranks whose GPUs the exporter of this process serves; None: all of the job."""
    if placement is None or log.prometheus_per == "job":
        return None
    first = placement.node * placement.local_world_size
    return range(first, first + placement.local_world_size)


def open_node_exporters(session: Session, log: LogConfig) -> None:
    """Open an exporter in the first rank of each further node. All ranks call it; once for a session it has effect.

    Raises ConfigError in rank 0 if one of them can't listen.
    """
    coordination = session.coordination
    if log.prometheus_per == "job" or "prometheus" not in log.trackers or not session.begins_node_exporters():
        return
    assert coordination
    placement = coordination.placement
    hosts = coordination.gathered_hosts()
    failure = 0
    if placement.local_rank == 0 and not placement.is_main:
        failure = _open(session, log, address_of(log.prometheus_address, placement, hosts))
    failures = coordination.gathered(failure)
    if placement.is_main and any(failures):
        raise _refusal(log, placement, hosts, failures)


def address_of(address: str, placement: Placement, hosts: Sequence[int]) -> str:
    """The address of this node's exporter, with its port; ``hosts`` has the number of each rank's machine."""
    host, _, port = address.rpartition(":")
    earlier = hosts[: placement.rank : placement.local_world_size]
    number = earlier.count(hosts[placement.rank])
    return f"{host}:{int(port) + number if int(port) else 0}"


def _open(session: Session, log: LogConfig, address: str) -> int:
    """Open the exporter of this process. Returns 0, or the number of the system's error."""
    from accelerate_sim.tracking.prometheus import PrometheusTracker

    if int(address.rpartition(":")[2]) > LAST_PORT:
        return errno.EADDRNOTAVAIL
    placement = session.placement
    assert placement
    try:
        tracker = PrometheusTracker(
            session.signals, session.read_gpus, address, session.report,
            ailment=lambda: ailment(session), ranks=served_ranks(log, placement), rank=placement.rank,
        )  # fmt: skip
    except OSError as error:
        return error.errno or errno.EADDRINUSE
    session.outputs.add_keepers(None, [tracker])
    session.serve_while_waiting()
    return 0


def _refusal(log: LogConfig, placement: Placement, hosts: Sequence[int], failures: Sequence[int]) -> ConfigError:
    """The error of the first node that can't listen."""
    from dataclasses import replace

    from accelerate_sim.tracking.registry import problem

    rank = next(rank for rank, number in enumerate(failures) if number)
    there = replace(placement, rank=rank)
    address = address_of(log.prometheus_address, there, hosts)
    reason = f"has prometheus, which can't listen on {address} for node {there.node}: {os.strerror(failures[rank])}"
    way_out = (
        "End what listens there, name another address with --set log.prometheus_address=HOST:PORT (port 0: any free "
        "one), or let rank 0 serve all GPUs with --set log.prometheus_per=job."
    )
    return ConfigError([problem(log.trackers, reason, way_out)])
