"""The lines NCCL prints with NCCL_DEBUG=INFO while it creates a communicator.

``lines`` and all that it calls are pure: they take a communicator and return lines. Formats are those of NCCL 2.27 in
public logs. What this module does not do: measure; NCCL never reports the time of a collective either.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace

from fake_torch_dist.nccl.communicator import CHANNELS, Communicator, Versions


def version_line(versions: Versions) -> str:
    """The only line with NCCL_DEBUG=VERSION or WARN, printed by rank 0."""
    return f"NCCL version {versions.full}"


def init_lines(comm: Communicator) -> list[str]:
    """The lines of one rank with NCCL_DEBUG=INFO, from the start to the last connection."""
    thread = comm.pid + 1 + comm.device
    main = f"{comm.host}:{comm.pid}:{comm.pid} [{comm.device}] NCCL INFO "
    worker = f"{comm.host}:{comm.pid}:{thread} [{comm.device}] NCCL INFO "
    head = [main + f"cudaDriverVersion {comm.versions.cuda_driver}", main + version_line(comm.versions)]
    return head + [worker + line for line in (*_network(comm), *_communicator(comm), *_connections(comm))]


def _network(comm: Communicator) -> Iterator[str]:
    adapters = " ".join(f"[{index}]mlx5_{index}:1/IB" for index in range(comm.local_ranks))
    node = comm.rank // comm.ranks_per_node
    yield "NET/Plugin: Could not find: libnccl-net.so. Using internal network plugin."
    yield f"NET/IB : Using {adapters} [RO]; OOB eth0:10.0.{node // 250}.{node % 250 + 1}<0>"
    yield "Using network IB"
    yield f"DMA-BUF is available on GPU device {comm.device}"


def _identity(comm: Communicator) -> str:
    return (
        f"ncclCommInitRankConfig comm {comm.address} rank {comm.rank} nranks {comm.num_ranks} cudaDev {comm.device} "
        f"nvmlDev {comm.device} busId {comm.bus_id} commId {comm.comm_id}"
    )


def _communicator(comm: Communicator) -> Iterator[str]:
    yield f"{_identity(comm)} - Init START"
    yield f"Setting affinity for GPU {comm.device} to {'0-55' if comm.device < 4 else '56-111'}"
    yield (
        f"comm {comm.address} rank {comm.rank} nRanks {comm.num_ranks} nNodes {comm.num_nodes} "
        f"localRanks {comm.local_ranks} localRank {comm.device} MNNVL 0"
    )
    if comm.rank == 0:
        width = len(str(comm.num_ranks - 1))
        for channel in range(CHANNELS):
            ranks = " ".join(f"{rank:{width}d}" for rank in comm.ring(channel))
            yield f"Channel {channel:02d}/{CHANNELS} : {ranks}"
    yield "Trees " + " ".join(f"[{channel}] {_tree(comm, channel)}" for channel in range(CHANNELS))
    yield "P2P Chunksize set to 524288"
    yield "threadThresholds 8/8/64 | 128/8/64 | 512 | 512"
    yield (
        f"{CHANNELS} coll channels, {CHANNELS} collnet channels, 0 nvls channels, {CHANNELS} p2p channels, "
        "2 p2p channels per peer"
    )
    yield f"{_identity(comm)} - Init COMPLETE"


def _tree(comm: Communicator, channel: int) -> str:
    children, parent = comm.tree(channel)
    padded = [*children, -1, -1, -1][:3]
    return f"{'/'.join(map(str, padded))}->{comm.rank}->{parent}"


def _connections(comm: Communicator) -> Iterator[str]:
    if comm.num_ranks == 1:
        return
    for channel in range(CHANNELS):
        ring = comm.ring(channel)
        place = ring.index(comm.rank)
        before, after = ring[place - 1], ring[(place + 1) % len(ring)]
        name, network = f"Channel {channel:02d}/0", f"via NET/IB/{channel % comm.local_ranks}/GDRDMA"
        me = _named(comm, comm.rank)
        if not _same_node(comm, before):
            yield f"{name} : {_named(comm, before)} -> {me} [receive] {network}"
        if _same_node(comm, after):
            yield f"{name} : {me} -> {_named(comm, after)} via P2P/CUMEM"
        else:
            yield f"{name} : {me} -> {_named(comm, after)} [send] {network}"
    yield "Connected all rings, use ring PXN 0 GDR 1"
    yield "Connected all trees"


def _same_node(comm: Communicator, rank: int) -> bool:
    return rank // comm.ranks_per_node == comm.rank // comm.ranks_per_node


def _named(comm: Communicator, rank: int) -> str:
    return f"{rank}[{rank % comm.ranks_per_node}]"


def print_lines(rank: int, num_ranks: int, ranks_per_node: int, name: str) -> None:
    """Print the lines that NCCL_DEBUG selects to standard output, in one write. ``name``: see Communicator."""
    comm = Communicator(rank, num_ranks, ranks_per_node, socket.gethostname(), os.getpid(), name)
    if _delayed is None:
        _print(comm)
    else:
        _delayed.append(comm)


_delayed: list[Communicator] | None = None
"""Communicators whose lines wait for ``print_delayed``; None: lines are printed at once."""


def delay() -> None:
    """Print no lines until ``print_delayed`` is called, as the versions of the job are not known yet."""
    global _delayed
    _delayed = _delayed or []


def print_delayed(versions: Versions) -> None:
    """Print the lines that ``delay`` has kept back, with these versions, and further lines at once."""
    global _delayed
    waiting, _delayed = _delayed or [], None
    for comm in waiting:
        _print(replace(comm, versions=versions))


def _print(comm: Communicator) -> None:
    said = lines(comm, os.environ.get("NCCL_DEBUG"))
    if said:
        sys.stdout.write("\n".join(said) + "\n")
        sys.stdout.flush()


def lines(comm: Communicator, level: str | None) -> list[str]:
    """The lines of one rank that makes its communicator with NCCL_DEBUG=``level``; none without a level."""
    level = (level or "").upper()
    if level in ("INFO", "TRACE"):
        return init_lines(comm)
    return [version_line(comm.versions)] if level in ("VERSION", "WARN") and comm.rank == 0 else []
