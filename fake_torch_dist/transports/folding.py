"""Fold the data of a group's members, node by node, from bytes or by reading their memory.

Folds are in rank order inside each node and then across nodes, as everywhere, so all transports give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Final

import numpy as np

from fake_torch_dist.core.reduction import Array, fold_nodes

BLOCK_BYTES: Final = 1 << 18
"""Bytes that are folded at a time: the blocks of two members stay in the cache."""

Read = Callable[[int, int, Array], None]
"""``read(member, offset, into)`` fills ``into`` with a member's bytes from ``offset`` on."""


class NodeFold:
    """The order in which a group folds. ``ranks`` are the members' global ranks in group order, ``me`` is our index."""

    def __init__(self, ranks: Sequence[int], ranks_per_node: int, me: int) -> None:
        self._ranks = ranks
        self._ranks_per_node = ranks_per_node
        self._me = me

    @cached_property
    def _nodes(self) -> list[list[int]]:
        """Indices of the members on each node. Many groups never fold."""
        nodes: dict[int, list[int]] = {}
        for index, rank in enumerate(self._ranks):
            nodes.setdefault(rank // self._ranks_per_node, []).append(index)
        return [nodes[node] for node in sorted(nodes)]

    @cached_property
    def _per_node(self) -> int | list[int]:
        sizes = [len(node) for node in self._nodes]
        return sizes[0] if len(set(sizes)) == 1 else sizes

    @cached_property
    def _order(self) -> list[int]:
        return [index for node in self._nodes for index in node]

    def of_bytes(self, parts: Sequence[memoryview], like: Array, ufunc: np.ufunc) -> bytes:
        """Fold all members' bytes, each an array like ``like``."""
        data = b"".join(parts[index] for index in self._order)
        rows = np.frombuffer(data, like.dtype).reshape(len(self._order), *like.shape)
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(fold_nodes(rows, ufunc, self._per_node)).tobytes()

    def of_memory(
        self, read: Read, source: Array, target: Array, begin: int, end: int, ufunc: np.ufunc, shift: int = 0
    ) -> None:
        """Fold elements ``begin`` to ``end`` of all members into ``target`` at ``begin - shift``, a block at a time.

        ``source`` are our own elements, which the others may still be reading: they do not change outside of
        ``begin`` to ``end``, where ``target`` may be the same memory.
        """
        step = max(1, BLOCK_BYTES // source.itemsize)
        scratch = np.empty((3, min(step, end - begin)), source.dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            for first in range(begin, end, step):
                last = min(first + step, end)
                target[first - shift : last - shift] = self._block(read, source[first:last], first, ufunc, scratch)

    def _block(self, read: Read, own: Array, first: int, ufunc: np.ufunc, scratch: Array) -> Array:
        rows = scratch[:, : len(own)]
        total: Array = rows[0]
        of_node, row = rows[1], rows[2]
        for number, node in enumerate(self._nodes):
            folded = of_node if number else total
            for position, index in enumerate(node):
                if index == self._me:
                    block = own
                else:
                    block = row if position else folded
                    read(index, first * own.itemsize, block)
                if position:
                    ufunc(folded, block, out=folded)
                elif index == self._me:
                    folded[:] = own
            if number:
                ufunc(total, of_node, out=total)
        return total
