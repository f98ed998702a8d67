"""The virtual world: this process plays every rank, so a collective is indexing and nothing has to be sent."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fake_torch_dist import errors
from fake_torch_dist.core.fingerprint import Call
from fake_torch_dist.core.group_members import GroupLabels
from fake_torch_dist.core.local_tensor import LocalTensor, shards_of
from fake_torch_dist.core.object_copy import PickledObject
from fake_torch_dist.core.process_group import ProcessGroup
from fake_torch_dist.core.reduction import Array, fold_nodes
from fake_torch_dist.core.runner import InlineRunner
from fake_torch_dist.core.transport import Received
from fake_torch_dist.transports.nothing_sent import NothingSent

if TYPE_CHECKING:
    from fake_torch_dist.core.group_factory import GroupFactory


class VirtualTransport(NothingSent):
    """Serves a group whose members are all played here: row k of an array is group rank k's shard."""

    __slots__ = ("_node_order", "_per_node", "_size")

    tensor_type: ClassVar[str] = "LocalTensor"
    has_uneven_blocks: ClassVar[bool] = False

    def __init__(self, ranks: Sequence[int], ranks_per_node: int) -> None:
        """``ranks`` are the members' global ranks in group order; they decide which members share a node."""
        self._size = len(ranks)
        nodes = [rank // ranks_per_node for rank in ranks]
        order = sorted(range(len(ranks)), key=nodes.__getitem__)  # stable: inside a node by group rank
        self._node_order = None if order == list(range(len(ranks))) else np.array(order)
        sizes = [len(list(members)) for _, members in groupby(sorted(nodes))]
        even = all(size == sizes[0] for size in sizes[:-1]) and sizes[-1] <= sizes[0]
        self._per_node: int | list[int] = sizes[0] if even else sizes

    # -- arguments -----------------------------------------------------------------------------------------------------

    @staticmethod
    def rows_of(tensor: object, name: str, *, written: bool = False) -> Array:
        """The array of a ``LocalTensor``; TypeError for anything else."""
        return tensor.shards if isinstance(tensor, LocalTensor) else shards_of(tensor, name)

    def check_messages(self) -> None:
        """NotImplementedError: the sender and the receiver are this process."""
        raise NotImplementedError(errors.NO_MESSAGES_TO_ONESELF)

    # -- collectives ---------------------------------------------------------------------------------------------------

    async def all_fold(self, shards: Array, ufunc: np.ufunc, call: Call, out: Array | None = None) -> Array:
        """Fold inside the nodes, then across them."""
        with np.errstate(over="ignore", invalid="ignore"):  # as in torch, without a warning
            return fold_nodes(shards if self._node_order is None else shards[self._node_order], ufunc, self._per_node)

    async def reduce_scatter(
        self, shards: Array, ufunc: np.ufunc, call: Call, out: Array | None = None, sizes: Sequence[int] | None = None
    ) -> Array:
        """All blocks, one after the other."""
        return await self.all_fold(shards, ufunc, call)

    async def all_gather(self, shards: Array, call: Call, out: Sequence[Array] | None = None) -> Array:
        """``shards``, which are all members'."""
        return shards

    async def broadcast(self, shards: Array, root: int, call: Call, out: Array | None = None) -> Array:
        """The root's row."""
        return shards[root, ...]

    async def gather(self, shards: Array, root: int, call: Call, out: Sequence[Array] | None = None) -> Array:
        """``shards``, which are all members'."""
        return shards

    async def scatter(
        self, parts: Sequence[Array] | None, root: int, call: Call, like: Array, out: Array | None = None
    ) -> Array:
        """All of ``parts``, stacked."""
        assert parts is not None
        return np.stack(parts)

    async def all_to_all(self, parts: Sequence[Array], call: Call, outs: Sequence[Array]) -> list[Array]:
        """Row a of entry b becomes row b of entry a. MismatchError unless all entries are of one shape."""
        shapes = {array.shape for array in (*parts, *outs)}
        if len(shapes) > 1:
            raise errors.MismatchError(
                f"all_to_all of shapes {sorted(shapes)}: one call speaks for all ranks, so each sends what it gets"
            )
        # Group rank b gets row a of entry b from group rank a.
        return [np.stack([part[source] for part in parts]) for source in range(len(parts))]

    # -- objects -------------------------------------------------------------------------------------------------------

    def pack(self, obj: object) -> PickledObject:
        """``obj``, pickled once for all ranks."""
        return PickledObject(obj)

    def unpack(self, packed: Any, rank: int) -> Any:
        """A copy of ``rank``'s object."""
        return packed.of_rank(rank)

    async def broadcast_packed(self, packed: Any | None, root: int, call: Call) -> Any:
        """``packed``."""
        return packed

    async def scatter_packed(self, packed: Sequence[Any], root: int, call: Call) -> Any:
        """The entry of the only rank; a group of more does not call this."""
        (only,) = packed
        return only

    # -- point to point ------------------------------------------------------------------------------------------------

    def send(self, to: int, tag: int, label: str, data: memoryview) -> Coroutine[Any, Any, None]:
        """NotImplementedError."""
        raise NotImplementedError(errors.NO_MESSAGES_TO_ONESELF)

    def post(self, to: int, tag: int, label: str, data: memoryview) -> None:
        """NotImplementedError."""
        raise NotImplementedError(errors.NO_MESSAGES_TO_ONESELF)

    def receive(self, source: int, tag: int) -> Coroutine[Any, Any, Received | None]:
        """NotImplementedError."""
        raise NotImplementedError(errors.NO_MESSAGES_TO_ONESELF)

    def receive_now(self, source: int, tag: int, timeout: timedelta) -> Received | None:
        """NotImplementedError."""
        raise NotImplementedError(errors.NO_MESSAGES_TO_ONESELF)


class VirtualGroups:
    """Makes the groups of a virtual world of ``world_size`` ranks."""

    def __init__(self, world_size: int) -> None:
        self.runner = InlineRunner()
        self._world_size = world_size

    def plays_any(self, ranks: Sequence[int]) -> bool:
        """True: this process plays all ranks."""
        return True

    def transport(self, ranks: Sequence[int], number: int, ranks_per_node: int) -> VirtualTransport:
        """The transport between ``ranks``; ``number`` has no meaning here."""
        return VirtualTransport(ranks, ranks_per_node)

    def group(self, ranks: Sequence[int], number: int, ranks_per_node: int, labels: GroupLabels) -> ProcessGroup:
        """A group of ``ranks``, which are the rows of a tensor, too."""
        return ProcessGroup(
            ranks,
            self.transport(ranks, number, ranks_per_node),
            self.runner,
            played=range(len(ranks)),
            rows=ranks,
            num_local=self._world_size,
            labels=labels,
            ranks_per_node=ranks_per_node,
            number=number,
        )

    def dry_run(self) -> GroupFactory:
        """ValueError: a dry run plays one rank."""
        raise ValueError(errors.DRY_RUN_OF_ALL)
