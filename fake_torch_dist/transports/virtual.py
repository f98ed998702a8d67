"""The transport of the virtual world: every rank lives in this process, so nothing has to move."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from ..reduction import Array, fold_nodes


class VirtualTransport:
    """Serves a group whose members are all played here: row k of an array is group rank k's shard."""

    __slots__ = ("_node_order", "_per_node")

    def __init__(self, ranks: Sequence[int], ranks_per_node: int) -> None:
        """``ranks`` are the members' global ranks in group order; they decide who shares a node."""
        nodes = [rank // ranks_per_node for rank in ranks]
        order = sorted(range(len(ranks)), key=nodes.__getitem__)  # stable: inside a node by group rank
        self._node_order = None if order == list(range(len(ranks))) else np.array(order)
        sizes = [len(list(members)) for _, members in groupby(sorted(nodes))]
        even = all(size == sizes[0] for size in sizes[:-1]) and sizes[-1] <= sizes[0]
        self._per_node: int | list[int] = sizes[0] if even else sizes

    def all_fold(self, shards: Array, ufunc: np.ufunc) -> Array:
        """Fold inside the nodes, then across them."""
        return fold_nodes(shards if self._node_order is None else shards[self._node_order], ufunc, self._per_node)

    def all_gather(self, shards: Array) -> Array:
        """Everybody's shard is here already."""
        return shards

    def broadcast(self, shards: Array, root: int) -> Array:
        """The root's row."""
        return shards[root, ...]

    def scatter(self, parts: Array | None, root: int) -> Array:
        """The root is played here, and so is everyone it gives a part to."""
        assert parts is not None
        return parts

    def barrier(self) -> None:
        """One process cannot be late for itself."""

    def close(self) -> None:
        """Nothing is held."""
