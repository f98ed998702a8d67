"""``Communicator``: the rings and trees that NCCL builds over the ranks of a job, from the point of view of one rank.

They are built as on machines whose GPUs all reach each other over NVLink and have a NIC each: channel c enters and
leaves a node at GPU c.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from fake_torch_dist.nccl.pci_addresses import nccl_bus_id

CHANNELS: Final = 16


@dataclass(frozen=True)
class Versions:
    """Versions that the lines state; the defaults are for scripts that set none."""

    nccl: str = "2.27.7"
    cuda: str = "13.0"
    driver: str = ""
    """CUDA version of the driver; empty: that of NCCL."""

    @property
    def full(self) -> str:
        """Version with which NCCL introduces itself."""
        return f"{self.nccl}+cuda{self.cuda}"

    @property
    def cuda_driver(self) -> int:
        """CUDA version as the driver's API counts: 12040 for 12.4."""
        major, _, minor = (self.driver or self.cuda).partition(".")
        return 1000 * int(major) + 10 * int(minor or 0)


@dataclass(frozen=True)
class Communicator:
    """A communicator, from the point of view of one rank."""

    rank: int
    num_ranks: int
    ranks_per_node: int
    host: str
    pid: int
    name: str
    """A text that is the same on all ranks; ``comm_id`` is its hash."""

    versions: Versions = Versions()

    @property
    def device(self) -> int:
        return self.rank % self.ranks_per_node

    @property
    def num_nodes(self) -> int:
        return -(-self.num_ranks // self.ranks_per_node)

    @property
    def local_ranks(self) -> int:
        """Ranks on this rank's node; the last one may hold fewer."""
        first = self.rank - self.device
        return min(self.ranks_per_node, self.num_ranks - first)

    @property
    def bus_id(self) -> str:
        return nccl_bus_id(self.device)

    @property
    def comm_id(self) -> str:
        return "0x" + hashlib.blake2b(self.name.encode(), digest_size=8).hexdigest()

    @property
    def address(self) -> str:
        """The address of the communicator in this process's memory; it differs between processes."""
        return "0x" + hashlib.blake2b(f"{self.name}/{self.rank}/{self.pid}".encode(), digest_size=4).hexdigest()

    def ring(self, channel: int) -> list[int]:
        """All ranks in ring order: through each node downwards from the GPU of the channel."""
        order: list[int] = []
        for first in range(0, self.num_ranks, self.ranks_per_node):
            size = min(self.ranks_per_node, self.num_ranks - first)
            order += [first + (channel - step) % size for step in range(size)]
        return order

    def tree(self, channel: int) -> tuple[list[int], int]:
        """(children, parent) of this rank: a chain inside each node, a binary tree over the nodes' first ranks."""
        size = self.local_ranks
        place = (self.device - channel) % size
        first = self.rank - self.device
        children = [first + (self.device + 1) % size] if place + 1 < size else []
        if place:
            return children, first + (self.device - 1) % size
        above, below = binary_tree(self.rank // self.ranks_per_node, self.num_nodes)
        children += [self._head_of(node, channel) for node in below]
        return children, -1 if above < 0 else self._head_of(above, channel)

    def _head_of(self, node: int, channel: int) -> int:
        first = node * self.ranks_per_node
        return first + channel % min(self.ranks_per_node, self.num_ranks - first)


def binary_tree(node: int, num_nodes: int) -> tuple[int, list[int]]:
    """(parent or -1, children) of a node in the tree whose leaves are the odd numbers."""
    bit = 1
    while bit < num_nodes and not node & bit:
        bit <<= 1
    if node == 0:
        return -1, [bit >> 1] if num_nodes > 1 else []
    parent = (node ^ bit) | (bit << 1)
    if parent >= num_nodes:
        parent = node ^ bit
    half = bit >> 1
    children = [node - half] if half else []
    while half and node + half >= num_nodes:
        half >>= 1
    return parent, [*children, node + half] if half else children
