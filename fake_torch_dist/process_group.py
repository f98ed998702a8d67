"""Process groups: what each collective means, as numpy on arrays with a leading axis of the ranks played here.

A collective is written once, on top of a *transport* that only moves bytes. In the virtual world a process plays every
member and moving is indexing; a process that plays one rank hands the same methods arrays whose leading axis is 1 long.

What this module does not do: torch's argument rules (collectives.py) and the list of groups (world.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

import numpy as np

from . import errors, reduction
from .reduction import Array, ReduceOp


class Transport(Protocol):
    """Moves shards between the members of a group. An argument ``shards`` has one row per member played here."""

    def all_fold(self, shards: Array, ufunc: np.ufunc) -> Array:
        """Left fold over all members in the order of ``reduction.fold_world``; returns one shard, a new array."""

    def all_gather(self, shards: Array) -> Array:
        """Every member's shard in group order, shape (size, \\*shape); may be a view of ``shards``."""

    def broadcast(self, shards: Array, root: int) -> Array:
        """The shard of group rank ``root``; may be a view of ``shards``."""

    def scatter(self, parts: Array | None, root: int) -> Array:
        """Row k of ``parts``, shape (size, \\*shape), goes to group rank k; only the root has ``parts``.

        Returns the rows of the members played here; may be a view of ``parts``.
        """

    def barrier(self) -> None:
        """Return when every member has called."""

    def close(self) -> None:
        """Let go of what the transport holds. Nothing is called afterwards."""


class ProcessGroup:
    """An ordered set of ranks that communicate. Made by ``init_process_group`` and ``new_group``.

    Roots are group ranks. Arrays are of shape (ranks played here, \\*shape), members of other groups included; only the
    members' rows are read and written. Shapes and dtypes are checked here, roots and lists in collectives.py.
    """

    __slots__ = (
        "_rows", "backend", "group_desc", "group_name", "is_open", "num_local", "played", "ranks", "ranks_per_node",
        "timeout", "transport",
    )  # fmt: skip

    def __init__(
        self,
        ranks: Sequence[int],
        transport: Transport,
        *,
        played: Sequence[int],
        rows: Sequence[int],
        num_local: int,
        group_name: str,
        group_desc: str,
        backend: str,
        ranks_per_node: int,
        timeout: timedelta,
    ) -> None:
        """``played[i]`` is a group rank that this process plays, ``rows[i]`` its row of a tensor's ``num_local``."""
        self.ranks = tuple(ranks)
        """Global ranks of the members; the index is the group rank."""
        self.transport = transport
        self.played = played
        self._rows = _as_slice(rows)
        self.num_local = num_local
        self.group_name = group_name
        self.group_desc = group_desc
        self.backend = backend
        self.ranks_per_node = ranks_per_node
        self.timeout = timeout
        self.is_open = True

    def __repr__(self) -> str:
        return f"<ProcessGroup {self.group_name!r} of {self.size()} ranks, backend {self.backend!r}>"

    def size(self) -> int:
        """Number of members."""
        return len(self.ranks)

    def rank(self) -> int:
        """Group rank of this process; of the first member it plays if it plays several."""
        return self.played[0]

    def name(self) -> str:
        """Name of the backend, as torch's method of this name."""
        return self.backend

    def close(self) -> None:
        """End the group: its collectives raise from now on."""
        self.is_open = False
        self.transport.close()

    # -- collectives --------------------------------------------------------------------------------------------------

    def allreduce(self, shards: Array, op: ReduceOp) -> None:
        """Every member's row becomes the reduction of all."""
        result = self._fold(shards, op)
        shards[self._rows] = result

    def reduce(self, shards: Array, root: int, op: ReduceOp) -> None:
        """The root's row becomes the reduction. The others keep theirs, which torch does not promise."""
        result = self._fold(shards, op)
        if root in self.played:
            shards[self._row_of(root)] = result

    def broadcast(self, shards: Array, root: int) -> None:
        """Every member's row becomes the root's."""
        shards[self._rows] = self.transport.broadcast(self._mine(shards), root)

    def allgather(self, outputs: Sequence[Array], shards: Array) -> None:
        """``outputs[k]`` becomes, on every member, group rank k's row of ``shards``."""
        self._check_list("allgather", "output", outputs, shards)
        for output, shard in zip(outputs, self._gathered(shards), strict=True):
            output[self._rows] = shard

    def allgather_single(self, output: Array, shards: Array) -> None:
        """``output``, per rank (size * n, ...) or (size, n, ...) for shards of (n, ...), becomes the concatenation."""
        self._check_blocks("allgather", whole=output, part=shards)
        output[self._rows] = self._gathered(shards).reshape(output.shape[1:])

    def reduce_scatter_single(self, output: Array, shards: Array, op: ReduceOp) -> None:
        """Group rank k's row of ``output`` becomes block k of the reduction; shapes as in ``allgather_single``."""
        self._check_blocks("reduce_scatter", whole=shards, part=output)
        self._mine(output)
        blocks = self._fold(shards, op).reshape(self.size(), *output.shape[1:])
        output[self._rows] = blocks[list(self.played)]

    def gather(self, outputs: Sequence[Array], shards: Array, root: int) -> None:
        """On the root, ``outputs[k]`` becomes group rank k's row of ``shards``; elsewhere ``outputs`` is empty."""
        if root in self.played:
            self._check_list("gather", "output", outputs, shards)
        gathered = self._gathered(shards)
        if root in self.played:
            row = self._row_of(root)
            for output, shard in zip(outputs, gathered, strict=True):
                output[row] = shard

    def scatter(self, shards: Array, inputs: Sequence[Array], root: int) -> None:
        """Group rank k's row becomes the root's row of ``inputs[k]``; on other ranks ``inputs`` is empty."""
        self._mine(shards)
        parts = None
        if root in self.played:
            self._check_list("scatter", "input", inputs, shards)
            row = self._row_of(root)
            parts = np.stack([part[row] for part in inputs])
        shards[self._rows] = self.transport.scatter(parts, root)

    def barrier(self) -> None:
        """Return when every member has come."""
        self._check_open()
        self.transport.barrier()

    # -- what they share ----------------------------------------------------------------------------------------------

    def _fold(self, shards: Array, op: ReduceOp) -> Array:
        reduction.check_op(op, shards.dtype)
        mine = reduction.before(self._mine(shards), op)
        with np.errstate(over="ignore", invalid="ignore"):  # a loss that overflows is inf, without a word, as in torch
            total = self.transport.all_fold(mine, reduction.UFUNCS[op.name])
            return reduction.after(total, op, len(self.ranks))

    def _gathered(self, shards: Array) -> Array:
        """All members' rows, copied: an output may be the input's own memory, or overlap it."""
        return self.transport.all_gather(self._mine(shards)).copy()

    def _mine(self, shards: Array) -> Array:
        """The rows of the members played here, in group order; a view where indexing allows one."""
        if not self.is_open:
            self._check_open()
        if len(shards) != self.num_local:
            raise ValueError(
                f"the tensor has shards of {len(shards)} ranks, but this process plays {self.num_local}; "
                "its axis 0 must be the ranks, all of the world's, members of the group or not"
            )
        return shards[self._rows]

    def _row_of(self, group_rank: int) -> int:
        return int(np.arange(self.num_local)[self._rows][self.played.index(group_rank)])

    def _check_open(self) -> None:
        if not self.is_open:
            raise ValueError(errors.GROUP_NOT_REGISTERED.format(group=self))

    def _check_list(self, what: str, side: str, arrays: Sequence[Array], shards: Array) -> None:
        if len(arrays) != self.size():
            raise RuntimeError(f"{what}: invalid {side} tensor list (expected length {self.size()}, got {len(arrays)})")
        for index, array in enumerate(arrays):
            _check_dtypes(array, shards)
            if array.shape != shards.shape:
                raise RuntimeError(
                    f"{what}: invalid tensor size at index {index} "
                    f"(expected {shards.shape[1:]}, got {array.shape[1:]} per rank)"
                )
            self._mine(array)

    def _check_blocks(self, what: str, whole: Array, part: Array) -> None:
        _check_dtypes(whole, part)
        self._mine(whole)
        size, shape = self.size(), part.shape[1:]
        stacked = (size, *shape)
        joined = (size * shape[0], *shape[1:]) if shape else (size,)
        if whole.shape[1:] not in (stacked, joined):
            raise RuntimeError(
                f"{what}: invalid tensor size (expected {joined} or {stacked} per rank for {size} ranks with {shape} "
                f"each, got {whole.shape[1:]})"
            )


def _check_dtypes(array: Array, other: Array) -> None:
    if array.dtype != other.dtype:
        raise ValueError(f"Invalid usage of tensors with different dtypes: {array.dtype} and {other.dtype}")


def _as_slice(rows: Sequence[int]) -> slice | Array:
    """``rows`` as a slice if evenly spaced and rising, so that indexing makes a view instead of a copy."""
    step = rows[1] - rows[0] if len(rows) > 1 else 1
    if step > 0 and list(rows) == list(range(rows[0], rows[-1] + 1, step)):
        return slice(rows[0], rows[-1] + 1, step)
    return np.array(rows)
