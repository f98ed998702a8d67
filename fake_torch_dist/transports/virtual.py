"""The transport of the virtual world: every rank lives in this process, so nothing has to move."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from fake_torch_dist import errors
from fake_torch_dist.core.fingerprint import Call
from fake_torch_dist.core.reduction import Array, fold_nodes


class VirtualTransport:
    """Serves a group whose members are all played here: row k of an array is group rank k's shard.

    Nobody can differ from himself, so ``call`` is not looked at; nor is ``out``: nothing is moved twice.
    """

    __slots__ = ("_node_order", "_per_node")

    def __init__(self, ranks: Sequence[int], ranks_per_node: int) -> None:
        """``ranks`` are the members' global ranks in group order; they decide who shares a node."""
        nodes = [rank // ranks_per_node for rank in ranks]
        order = sorted(range(len(ranks)), key=nodes.__getitem__)  # stable: inside a node by group rank
        self._node_order = None if order == list(range(len(ranks))) else np.array(order)
        sizes = [len(list(members)) for _, members in groupby(sorted(nodes))]
        even = all(size == sizes[0] for size in sizes[:-1]) and sizes[-1] <= sizes[0]
        self._per_node: int | list[int] = sizes[0] if even else sizes

    async def all_fold(self, shards: Array, ufunc: np.ufunc, call: Call, out: Array | None = None) -> Array:
        """Fold inside the nodes, then across them."""
        with np.errstate(over="ignore", invalid="ignore"):  # a loss that overflows is inf, without a word, as in torch
            return fold_nodes(shards if self._node_order is None else shards[self._node_order], ufunc, self._per_node)

    async def reduce_scatter(
        self, shards: Array, ufunc: np.ufunc, call: Call, out: Array | None = None, sizes: Sequence[int] | None = None
    ) -> Array:
        """All blocks, one after the other, since everyone is played here."""
        return await self.all_fold(shards, ufunc, call)

    async def all_gather(self, shards: Array, call: Call, out: Sequence[Array] | None = None) -> Array:
        """Everybody's shard is here already."""
        return shards

    async def broadcast(self, shards: Array, root: int, call: Call, out: Array | None = None) -> Array:
        """The root's row."""
        return shards[root, ...]

    async def gather(self, shards: Array, root: int, call: Call, out: Sequence[Array] | None = None) -> Array:
        """Everybody's shard is here already."""
        return shards

    async def scatter(
        self, parts: Sequence[Array] | None, root: int, call: Call, like: Array, out: Array | None = None
    ) -> Array:
        """The root is played here, and so is everyone it gives a part to."""
        assert parts is not None
        return np.stack(parts)

    async def all_to_all(self, parts: Sequence[Array], call: Call, outs: Sequence[Array]) -> list[Array]:
        """Row a of entry b becomes row b of entry a. MismatchError unless all entries are of one shape."""
        shapes = {array.shape for array in (*parts, *outs)}
        if len(shapes) > 1:
            raise errors.MismatchError(
                f"all_to_all of shapes {sorted(shapes)}: one call speaks for all ranks, so each sends what it gets"
            )
        # What group rank b gets from a is row a of entry b.
        return [np.stack([part[source] for part in parts]) for source in range(len(parts))]

    async def barrier(self, call: Call) -> None:
        """One process cannot be late for itself."""

    def close(self) -> None:
        """Nothing is held."""
