"""``ReplicaTensor``: a tensor whose value is the same on all ranks of a data-parallel replica.

Losses are of this kind: in a job of 16,384 ranks there may be 128 replicas, so that sums of micro-batches are made on
128 numbers and spread over the ranks once a step. Element by element the sums have the bits of those made by rank.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy.typing as npt

from fake_torch_dist import LocalTensor

if TYPE_CHECKING:
    from accelerate_sim.sim.layout import Ranks

Array: TypeAlias = npt.NDArray[Any]


class _Memory:
    """The memory that a tensor and its views share: one number a replica until the first use by rank."""

    replicas: Array
    shards: Array | None = None


class ReplicaTensor(LocalTensor):
    """One number for each replica, and the replica of each rank that this process plays.

    ``shards`` spreads the numbers over the ranks at its first use; from then on the tensor is as any other.
    """

    __slots__ = ("_memory", "_replica_of")

    def __init__(self, numbers: Array, replica_of: Ranks | None = None) -> None:
        """``numbers``: one for each replica; without ``replica_of``, as results of tensor methods come, one a rank."""
        self._memory = _Memory()  # every micro-batch makes one, so it has no __init__ to call
        self._memory.replicas = numbers
        self._replica_of: Any = replica_of
        if replica_of is None:
            self._memory.shards = numbers

    @property
    def shards(self) -> Array:  # type: ignore[override]  # made when it is first read
        """The number of each rank."""
        memory = self._memory
        if memory.shards is None:
            memory.shards = memory.replicas.take(self._replica_of)
        return memory.shards

    def detach(self) -> ReplicaTensor:
        """A tensor on the same memory."""
        view = ReplicaTensor.__new__(ReplicaTensor)
        view._memory, view._replica_of = self._memory, self._replica_of
        return view

    def clone(self) -> LocalTensor:
        """A tensor on its own memory, with a number for each rank."""
        memory = self._memory
        if memory.shards is None:
            return LocalTensor(memory.replicas.take(self._replica_of))
        return LocalTensor(memory.shards.copy())

    copy = clone

    def __add__(self, other: Any) -> LocalTensor:
        if self._memory.shards is None and isinstance(other, float | int):
            return ReplicaTensor(self._memory.replicas + other, self._replica_of)
        return super().__add__(other)

    __radd__ = __add__

    def __iadd__(self, other: Any) -> LocalTensor:
        if type(other) is ReplicaTensor and other._replica_of is self._replica_of:
            mine, theirs = self._memory, other._memory
            if mine.shards is None and theirs.shards is None:
                mine.replicas = mine.replicas + theirs.replicas  # they may be a view of the run's own numbers
                return self
        return super().__iadd__(other)
