"""The lines of kernels, daemons, NCCL and torch about a link between nodes that fails or comes back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from accelerate_sim.faults.consequences import FaultLine
from accelerate_sim.faults.occurrence import Occurrence
from accelerate_sim.faults.rank_lines import collective_of, draw_of, of_rank, waiter_of
from accelerate_sim.faults.words import daemons, kernel, nccl, nccl_error
from accelerate_sim.faults.words.line import TimedLine, later

ADAPTER_BUS = 0x0C
"""PCI bus of the first adapter; each next one is on the next bus but one."""


def adapter_of(link: int) -> str:
    """RDMA name of an adapter, one a GPU."""
    return f"mlx5_{link}"


def ip_of(node: int) -> str:
    """Address of a node, as in NCCL's log."""
    return f"10.0.{node // 250}.{node % 250 + 1}"


def nccl_process_of(strike: Occurrence, rank: int) -> nccl.NcclProcess:
    """The process of a rank whose NCCL warns."""
    pid = strike.pid(rank)
    return nccl.NcclProcess(
        host=strike.host(rank), pid=pid, thread=pid + 60 + draw_of(strike, rank).below("thread", 40),
        device=rank % strike.run.layout.gpus_per_node, start=strike.moment,
        version=strike.run.config.cluster.nccl_version,
    )  # fmt: skip


def carrier_lines(strike: Occurrence, node: int, link: int, *, down: bool, after_s: float = 0.0) -> Iterator[FaultLine]:
    """The lines of a machine whose port goes down or comes up: those of mlx5, and that of its network daemon."""
    rank, bdf = node * strike.run.layout.gpus_per_node, f"0000:{ADAPTER_BUS + 2 * link:02x}:00.0"
    is_infiniband = strike.run.config.cluster.fabric == "infiniband"
    interface = f"ib{link}" if is_infiniband else f"eth{link + 1}"
    if is_infiniband:
        said = kernel.infiniband_port(bdf, adapter_of(link), down)
    else:
        said = kernel.ethernet_link(bdf, interface, down)
    if down and strike.fault["action"] == "down":
        said = [*kernel.cable_unplugged(bdf, link), *later(said, 0.004)]
    daemon = daemons.carrier(
        interface, strike.moment, strike.host(rank), 700 + node % 200, lost=down, after_s=said[-1].after_s + after_s
    )
    yield from of_rank(rank, later(said, after_s))
    yield FaultLine(daemon.text, rank, "syslog", daemon.after_s + 0.02)


def port_events(
    strike: Occurrence, ranks: list[int], link: int, event: str, after_s: float = 0.0
) -> Iterator[FaultLine]:
    """NCCL's warning in each process of the node about its port."""
    for rank in ranks:
        process = nccl_process_of(strike, rank)
        moved = nccl.NcclProcess(**{**vars(process), "start": process.start + timedelta(seconds=after_s)})
        yield from of_rank(rank, later(nccl.port_event(moved, adapter_of(link), event), after_s + 0.03))


def lost_link(strike: Occurrence, rank: int, peer: int, link: int, *, warns: bool) -> Iterator[FaultLine]:
    """The lines of a rank whose requests to a peer are not answered: after all retries NCCL, then torch."""
    per_node, version = strike.run.layout.gpus_per_node, strike.run.config.cluster.nccl_version
    draw, ip = draw_of(strike, rank), ip_of(peer // per_node)
    port = 32768 + draw.below("port", 28000)
    if warns:
        said = nccl.retries_exceeded(nccl_process_of(strike, rank), ip, port, adapter_of(link), draw)
        yield from of_rank(rank, said)
    last = nccl.completion_text(ip, port, adapter_of(link), draw.within(0), version, sends=True)
    retried_s = nccl.retries_s()
    failed: list[TimedLine] = nccl_error.async_error(
        waiter_of(strike, rank, retried_s), collective_of(strike), nccl_error.REMOTE, last, nccl=version
    )
    yield from of_rank(rank, later(failed, retried_s))
