"""The algorithm and protocol that NCCL takes for a collective, as NCCL_DEBUG_SUBSYS=TUNING shows them.

NCCL estimates each one's time from latencies and bandwidths that are fixed in it, and takes the shortest. This module
does so with the latencies of NCCL 2.21 (src/graph/tuning.cc) and the bandwidths of the link model. It does not predict
how long the collective takes; ``network.py`` does, from measurements.
"""

from collections.abc import Iterator
from math import log2
from typing import NamedTuple

from accelerate_sim.sim.layout import Group
from accelerate_sim.sim.speed.network import NVLINK_EFFICIENCY, Network

POINT_TO_POINT = ("all_to_all", "send_recv")
"""Collectives that are made of single transfers, for which NCCL chooses only the protocol."""
POINT_TO_POINT_LL_BYTES = 16 * 1024
"""Largest transfer from rank to rank that takes LL (NCCL_P2P_LL_THRESHOLD)."""
NVLS_S = 34e-6
"""Start-up time of an all-reduce in the switch: 8 H100 take Ring/LL up to 1 MiB and NVLS/Simple from 2 MiB
(NVIDIA DGX Cloud nccl/README, 2025)."""
LL_RATES = (87.7e9, 22.5e9, 19.0e9)
"""Highest bus bandwidth of LL on Ampere and later, in bytes/s: one node, two, more."""
TREE_RATE = 0.92
"""Bandwidth of a tree over that of a ring."""
PCIE_MOST_BYTES_PER_S = 64e9
"""Highest rate of links that are no NVLink; LL128 needs stores of 128 bytes that arrive whole."""


class Choice(NamedTuple):
    """Algorithm and protocol by NCCL's names; P2P where NCCL has no name."""

    algorithm: str
    protocol: str

    def __str__(self) -> str:
        return f"{self.algorithm}/{self.protocol}"


class Latency(NamedTuple):
    """Seconds of one protocol: to begin, a hop inside a domain, a hop between domains."""

    base_s: float
    near_s: float
    far_s: float


RING = {
    "LL": Latency(6.6e-6, 0.6e-6, 2.7e-6),
    "LL128": Latency(14.0e-6, 1.9e-6, 4.0e-6),
    "Simple": Latency(8.4e-6, 3.4e-6, 14.0e-6),
}
TREE = {
    "LL": Latency(6.8e-6, 0.6e-6, 5.0e-6),
    "LL128": Latency(14.0e-6, 1.25e-6, 8.5e-6),
    "Simple": Latency(8.4e-6, 4.0e-6, 14.0e-6),
}


def nccl_choice(network: Network, collective: str, size_bytes: float, group: Group) -> Choice:
    """Return NCCL's choice for one collective of ``size_bytes`` (as ``Network.seconds`` counts them) over ``group``."""
    if collective in POINT_TO_POINT:
        each = size_bytes / group.size if collective == "all_to_all" else size_bytes
        return Choice("P2P", "LL" if each <= POINT_TO_POINT_LL_BYTES else "Simple")
    estimates = dict(_estimates(network, collective, size_bytes, group))
    return min(estimates, key=lambda choice: estimates[choice])


def _estimates(network: Network, collective: str, size_bytes: float, group: Group) -> Iterator[tuple[Choice, float]]:
    """Yield every candidate with its estimated seconds."""
    on_bus = network.bus_factor(collective, group) * size_bytes
    whole = network.bus_bytes_per_s(collective, group)
    ring = min(whole, NVLINK_EFFICIENCY[network.generation] * network.nvlink_bytes_per_s)
    passes = 2 if collective == "all_reduce" else 1
    far, near = passes * (group.num_domains - 1), passes * (group.size - group.num_domains)
    for protocol, latency in RING.items():
        if rate := _rate(network, protocol, ring, group):
            seconds = latency.base_s + near * latency.near_s + far * latency.far_s + on_bus / rate
            yield Choice("Ring", protocol), seconds
    if collective != "all_reduce":
        return  # the others are rings
    up_far = log2(group.num_domains)
    if whole > ring:  # only sums in the switches make it so fast
        name = "NVLS" if group.num_domains == 1 else "NVLSTree"
        yield Choice(name, "Simple"), NVLS_S + 2 * up_far * TREE["Simple"].far_s + on_bus / whole
    if group.num_domains > 1:
        for protocol, latency in TREE.items():
            up_s = (group.per_domain - 1) * latency.near_s + up_far * latency.far_s
            if rate := _rate(network, protocol, TREE_RATE * ring, group):
                yield Choice("Tree", protocol), latency.base_s + 2 * up_s + on_bus / rate


def _rate(network: Network, protocol: str, whole: float, group: Group) -> float | None:
    """Return the bus bandwidth of a protocol where Simple reaches ``whole``; None where NCCL does not use it."""
    if protocol == "LL":  # half of every word is a flag, and lines are stored one by one
        return min(whole / 4, LL_RATES[min(group.num_domains - 1, 2)])
    if protocol == "LL128":
        return 0.92 * whole if network.nvlink_bytes_per_s > PCIE_MOST_BYTES_PER_S else None
    return whole
