"""What a transport does for a process group: the one interface between what a collective means and how bytes move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np

from fake_torch_dist.core.fingerprint import Call
from fake_torch_dist.core.reduction import Array

Rows: TypeAlias = "Array | Sequence[Array]"
"""One array per member: stacked, or a list of them."""


class Transport(Protocol):
    """Moves shards between the members of a group. An argument ``shards`` has one row per member played here.

    ``call`` is what the members compare. ``out`` may be written into, and is returned if it was; it is contiguous.
    """

    async def all_fold(self, shards: Array, ufunc: np.ufunc, call: Call, out: Array | None = None) -> Array:
        """Left fold over all members in the order of ``reduction.fold_world``; one shard, new or ``out``."""

    async def reduce_scatter(
        self, shards: Array, ufunc: np.ufunc, call: Call, out: Array | None = None, sizes: Sequence[int] | None = None
    ) -> Array:
        """The blocks of that fold that belong to the members played here; in any shape.

        Block k has ``sizes[k]`` elements; None: all have the same. Sizes are given only where one member is played.
        """

    async def all_gather(self, shards: Array, call: Call, out: Sequence[Array] | None = None) -> Rows:
        """Every member's shard in group order; may be a view of ``shards``."""

    async def broadcast(self, shards: Array, root: int, call: Call, out: Array | None = None) -> Array:
        """The shard of group rank ``root``; may be a view of ``shards``."""

    async def gather(self, shards: Array, root: int, call: Call, out: Sequence[Array] | None = None) -> Rows | None:
        """As ``all_gather`` where the root is played; None elsewhere."""

    async def scatter(
        self, parts: Sequence[Array] | None, root: int, call: Call, like: Array, out: Array | None = None
    ) -> Array:
        """Entry k of ``parts`` goes to group rank k; only the root has them. ``like`` is one entry's shape and dtype.

        Returns the entries of the members played here, stacked; of a process that plays one, its entry.
        """

    async def all_to_all(self, parts: Sequence[Array], call: Call, outs: Sequence[Array]) -> Sequence[Array]:
        """Entry k of ``parts`` goes to group rank k; what came from whom is returned, shaped by ``outs`` or flat."""

    async def barrier(self, call: Call) -> None:
        """Return when every member has called."""

    def close(self) -> None:
        """Let go of what the transport holds. Nothing is called afterwards."""
