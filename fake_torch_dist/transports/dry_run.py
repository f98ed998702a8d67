"""Backend "fake": one rank of a world of any size, in which nothing is sent and no rank is waited for.

As torch's: a script runs alone as rank 3 of 1000, to see its shapes and groups. Results are wrong, but every output is
written: data of another rank is replaced by this rank's own. A broadcast or a receive leaves its array as it was.
New groups of such a world are such groups, and so is a group of backend "fake" in a world of processes. The virtual
world has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np

from fake_torch_dist import errors
from fake_torch_dist.core import reduction
from fake_torch_dist.core.checks import check_blocks, check_list
from fake_torch_dist.core.fingerprint import Call
from fake_torch_dist.core.group_members import GroupLabels
from fake_torch_dist.core.one_rank import OneRankTransport
from fake_torch_dist.core.process_group import ProcessGroup
from fake_torch_dist.core.reduce_op import ReduceOp
from fake_torch_dist.core.reduction import Array
from fake_torch_dist.core.runner import InlineRunner
from fake_torch_dist.transports.nothing_sent import NothingSent

if TYPE_CHECKING:
    from fake_torch_dist.core.group_factory import GroupFactory


class DryRunGroup(ProcessGroup):
    """A group of which this process plays one member and the others do not exist."""

    __slots__ = ()

    async def _fold(self, mine: Array, op: ReduceOp, call: Call, out: Array | None = None) -> Array:
        reduction.check_op(op, mine.dtype)
        return mine[0, ...]

    async def reduce_scatter_single_rows(self, output: Array, shards: Array, op: ReduceOp) -> None:
        """``output`` becomes this rank's own block, not reduced."""
        check_blocks("reduce_scatter", whole=shards, part=output, size=self.size())
        reduction.check_op(op, shards.dtype)
        blocks = self._mine(shards).reshape(self.size(), *output.shape[1:])
        self._mine(output)[...] = blocks[self.rank()]

    async def reduce_scatter_rows(self, output: Array, inputs: Sequence[Array], op: ReduceOp) -> None:
        """``output`` becomes this rank's own input for itself, not reduced."""
        reduction.check_op(op, output.dtype)
        if len(inputs) != self.size():
            raise RuntimeError(f"invalid input tensor list size, must be world size ({self.size()}, got {len(inputs)})")
        check_list("reduce_scatter", "input", [inputs[self.rank()]], output, 1)
        self._mine(output)[...] = inputs[self.rank()]


class DryRunTransport(NothingSent, OneRankTransport):
    """Gives this rank's data as every rank's."""

    def __init__(self, size: int, me: int) -> None:
        self._size = size
        self._me = me

    def check_messages(self) -> None:
        """Messages can be begun."""

    async def all_fold(self, shards: Array, ufunc: np.ufunc, call: Call, out: Array | None = None) -> Array:
        """This rank's shard."""
        return shards[0, ...]

    async def reduce_scatter(
        self, shards: Array, ufunc: np.ufunc, call: Call, out: Array | None = None, sizes: Sequence[int] | None = None
    ) -> Array:
        """This rank's block of its own shard; blocks are equal."""
        block: Array = shards.reshape(self._size, -1)[self._me]
        return block

    async def all_gather(self, shards: Array, call: Call, out: Sequence[Array] | None = None) -> list[Array]:
        """This rank's shard once for every member."""
        return [shards[0, ...]] * self._size

    async def broadcast(self, shards: Array, root: int, call: Call, out: Array | None = None) -> Array:
        """This rank's shard, for every root."""
        return shards[0, ...]

    async def gather(
        self, shards: Array, root: int, call: Call, out: Sequence[Array] | None = None
    ) -> list[Array] | None:
        """On the root as ``all_gather``."""
        return [shards[0, ...]] * self._size if root == self._me else None

    async def scatter(
        self, parts: Sequence[Array] | None, root: int, call: Call, like: Array, out: Array | None = None
    ) -> Array:
        """The root's own part; elsewhere ``like``."""
        return like if parts is None else parts[self._me]

    async def all_to_all(self, parts: Sequence[Array], call: Call, outs: Sequence[Array]) -> list[Array]:
        """Entry k goes to output k where the shapes agree; another output keeps its data."""
        return [part if part.shape == out.shape else out for part, out in zip(parts, outs, strict=True)]

    async def broadcast_packed(self, packed: bytes | None, root: int, call: Call) -> bytes:
        """The root's object. DistBackendError elsewhere: there is no object that could stand for it."""
        if packed is None:
            raise errors.DistBackendError(errors.NO_OBJECTS_COME.format(rank=root))
        return packed

    async def scatter_packed(self, packed: Sequence[bytes], root: int, call: Call) -> bytes:
        """The root's object for itself. DistBackendError elsewhere."""
        if root != self._me:
            raise errors.DistBackendError(errors.NO_OBJECTS_COME.format(rank=root))
        return packed[self._me]

    async def send(self, to: int, tag: int, label: str, data: memoryview) -> None:
        """Drop the message."""

    def post(self, to: int, tag: int, label: str, data: memoryview) -> None:
        """Drop the message."""

    async def receive(self, source: int, tag: int) -> None:
        """None at once: no message comes."""

    def receive_now(self, source: int, tag: int, timeout: timedelta) -> None:
        """None: no message comes."""


class DryRunGroups:
    """Makes the groups of a dry run as global ``rank``."""

    def __init__(self, rank: int) -> None:
        self.runner = InlineRunner()
        self._rank = rank

    def plays_any(self, ranks: Sequence[int]) -> bool:
        """True if the rank of the dry run is one of ``ranks``."""
        return self._rank in ranks

    def transport(self, ranks: Sequence[int], number: int, ranks_per_node: int) -> DryRunTransport:
        """The transport of a group of ``ranks``; ``number`` and nodes have no meaning here."""
        return DryRunTransport(len(ranks), list(ranks).index(self._rank))

    def group(self, ranks: Sequence[int], number: int, ranks_per_node: int, labels: GroupLabels) -> ProcessGroup:
        """A group of ``ranks``, of which this process plays one."""
        return DryRunGroup(
            ranks,
            self.transport(ranks, number, ranks_per_node),
            self.runner,
            played=[list(ranks).index(self._rank)],
            rows=[0],
            num_local=1,
            labels=labels,
            ranks_per_node=ranks_per_node,
            number=number,
        )

    def dry_run(self) -> GroupFactory:
        """This factory."""
        return self
