"""Backend "fake": one rank of a world of any size, in which nothing is sent and nobody is waited for.

As torch's: a script runs alone as rank 3 of 1000, to see its shapes and groups. Results are wrong, but every output is
written: what should come from another rank is this rank's own. A broadcast or a receive leaves its array as it was.
``DryRunGroup`` is the group, ``DryRunEngine`` runs its collectives at once; new groups of such a world are such groups,
and so is a group of backend "fake" in a world of processes. In the virtual world there is none.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, cast

import numpy as np

from fake_torch_dist import errors
from fake_torch_dist.core import reduction
from fake_torch_dist.core.checks import check_blocks, check_list
from fake_torch_dist.core.fingerprint import Call
from fake_torch_dist.core.process_group import ProcessGroup
from fake_torch_dist.core.reduction import Array, ReduceOp
from fake_torch_dist.transports.engine import Engine
from fake_torch_dist.transports.tasks import Task, Written


class DryRunGroup(ProcessGroup):
    """A group of which this process plays one member and the others do not exist."""

    __slots__ = ()

    async def _fold(self, name: str, shards: Array, op: ReduceOp, root: str, out: Array | None = None) -> Array:
        reduction.check_op(op, shards.dtype)
        return self._mine(shards)[0, ...]

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


class DryRunTransport:
    """Gives every rank's data as this rank's own. Members compare nothing."""

    def __init__(self, size: int, me: int) -> None:
        self._size = size
        self._me = me

    async def all_fold(self, shards: Array, ufunc: np.ufunc, call: Call, out: Array | None = None) -> Array:
        """This rank's shard."""
        return shards[0, ...]

    async def reduce_scatter(self, shards: Array, ufunc: np.ufunc, call: Call, out: Array | None = None) -> Array:
        """This rank's block of its own shard."""
        block: Array = shards.reshape(self._size, -1)[self._me]
        return block

    async def all_gather(self, shards: Array, call: Call, out: Sequence[Array] | None = None) -> list[Array]:
        """This rank's shard once for every member."""
        return [shards[0, ...]] * self._size

    async def broadcast(self, shards: Array, root: int, call: Call, out: Array | None = None) -> Array:
        """This rank's shard, whoever the root is."""
        return shards[0, ...]

    async def gather(
        self, shards: Array, root: int, call: Call, out: Sequence[Array] | None = None
    ) -> list[Array] | None:
        """On the root as ``all_gather``."""
        return [shards[0, ...]] * self._size if root == self._me else None

    async def scatter(
        self, parts: Sequence[Array] | None, root: int, call: Call, like: Array, out: Array | None = None
    ) -> Array:
        """The root's own part; elsewhere what the array held."""
        return like if parts is None else parts[self._me]

    async def all_to_all(self, parts: Sequence[Array], call: Call, outs: Sequence[Array]) -> list[Array]:
        """Entry k goes to output k where the shapes agree; another output keeps what it held."""
        return [part if part.shape == out.shape else out for part, out in zip(parts, outs, strict=True)]

    async def barrier(self, call: Call) -> None:
        """Nobody is waited for."""

    async def highest(self, number: int, call: Call) -> int:
        """This rank's number."""
        return number

    async def all_gather_bytes(self, data: bytes, call: Call) -> list[bytes]:
        """This rank's object once for every member."""
        return [data] * self._size

    async def gather_bytes(self, data: bytes, root: int, call: Call) -> list[bytes]:
        """As ``all_gather_bytes``."""
        return [data] * self._size

    async def broadcast_bytes(self, data: bytes, root: int, call: Call) -> bytes:
        """The root's object. DistBackendError elsewhere: no object is one of the right kind."""
        if root != self._me:
            raise errors.DistBackendError(errors.NO_OBJECTS_COME.format(rank=root))
        return data

    async def scatter_bytes(self, parts: Sequence[bytes], root: int, call: Call) -> bytes:
        """The root's object for itself. DistBackendError elsewhere."""
        if root != self._me:
            raise errors.DistBackendError(errors.NO_OBJECTS_COME.format(rank=root))
        return parts[self._me]

    def close(self) -> None:
        """Nothing is held."""


class DryRunPeers:
    """The connections to ranks that do not exist: none."""

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self.gone: frozenset[int] = frozenset()
        self.unsent: frozenset[int] = frozenset()

    def unsent_to(self, rank: int) -> bool:
        """Nothing waits to be sent."""
        return False

    def watch(self, ranks: Sequence[int]) -> None:
        """Nobody can be lost."""

    def same_host(self, ranks: Sequence[int]) -> bool:
        """No memory of another process is read."""
        return False

    def close(self) -> None:
        """Nothing is held."""


class DryRunEngine(Engine):
    """Runs every collective to its end where it starts. A receive ends at once, and nothing was received."""

    def __init__(self, rank: int) -> None:
        super().__init__(cast(Any, DryRunPeers(rank)))

    def send(self, *message: Any, **_: Any) -> None:
        """What is sent is dropped."""

    def start(
        self,
        coroutine: Coroutine[Any, Any, Any],
        members: Sequence[int],
        timeout_s: float,
        group: int | None = None,
    ) -> Task:
        """The finished task; what is wrong with the arguments is raised."""
        task = Task(coroutine, members, timeout_s, group)
        task.step(None)
        while isinstance(task.waiting, Written):
            task.step([])
        if task.error:
            raise task.error
        if task.waiting is not None:
            coroutine.close()
            task.waiting, task.done = None, True
        return task
