"""``RowCollectives``: the meaning of each collective, as numpy on arrays with a leading axis of the ranks played here.

A collective is written once, on top of a *transport*, which moves data. In the virtual world this process plays every
member and moving is indexing; in a process that plays one rank the leading axis has length 1. ``allreduce_rows`` and
the others are coroutines, which the group's *runner* runs.

What this module does not do: torch's methods of a group (``collective_methods``) and torch's functions (the folder
``api``).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from fake_torch_dist.core import reduction
from fake_torch_dist.core.checks import check_blocks, check_list, check_pairs, check_parts, split_bounds
from fake_torch_dist.core.fingerprint import Call
from fake_torch_dist.core.group_members import GroupMembers
from fake_torch_dist.core.reduce_op import ReduceOp
from fake_torch_dist.core.reduction import Array


class RowCollectives(GroupMembers):
    """Coroutines that move and reduce the rows of arrays between the members of a group.

    Roots are group ranks. Arrays are of shape (ranks played here, \\*shape), members of other groups included; only the
    members' rows are read and written. Shapes and dtypes are checked here; tensors and roots are checked before.
    """

    __slots__ = ()

    async def allreduce_rows(self, shards: Array, op: ReduceOp) -> None:
        """Every member's row becomes the reduction of all."""
        mine = self._mine(shards)
        call = self.transport.label("ALLREDUCE", shards, op)
        out = self.transport.out_row(mine)
        result = await self._fold(mine, op, call, out)
        if result is not out:
            shards[self._rows] = result

    async def reduce_rows(self, shards: Array, root: int, op: ReduceOp) -> None:
        """The root's row becomes the reduction. The others keep theirs, which torch does not guarantee."""
        mine = self._mine(shards)
        result = await self._fold(mine, op, self.transport.label("REDUCE", shards, op, f"root={root}"))
        if root in self.played:
            shards[self._row_of(root)] = result

    async def broadcast_rows(self, shards: Array, root: int) -> None:
        """Every member's row becomes the root's."""
        mine = self._mine(shards)
        out = self.transport.out_row(mine)
        call = self.transport.label("BROADCAST", shards, f"root={root}")
        result = await self.transport.broadcast(mine, root, call, out)
        if result is not out:
            shards[self._rows] = result

    async def allgather_rows(self, outputs: Sequence[Array], shards: Array) -> None:
        """``outputs[k]`` becomes, on every member, group rank k's row of ``shards``."""
        check_list("allgather", "output", outputs, shards, self.size())
        for output in outputs:
            self._mine(output)
        await self._gather_into([output[self._rows] for output in outputs], outputs, shards, "ALLGATHER")

    async def allgather_single_rows(self, output: Array, shards: Array) -> None:
        """``output``, per rank (size * n, ...) or (size, n, ...) for shards of (n, ...), becomes the concatenation."""
        check_blocks("allgather", whole=output, part=shards, size=self.size())
        self._mine(output)
        if output[:1].flags.c_contiguous:
            blocks = output.reshape(len(output), self.size(), *shards.shape[1:])
            outputs = [blocks[:, k] for k in range(self.size())]
            await self._gather_into([block[self._rows] for block in outputs], outputs, shards, "_ALLGATHER_BASE")
            return
        gathered = await self.transport.all_gather(self._mine(shards), self.transport.label("_ALLGATHER_BASE", shards))
        output[self._rows] = np.array(gathered).reshape(output.shape[1:])

    async def reduce_scatter_single_rows(self, output: Array, shards: Array, op: ReduceOp) -> None:
        """Group rank k's row of ``output`` becomes block k of the reduction; shapes as in ``allgather_single_rows``."""
        check_blocks("reduce_scatter", whole=shards, part=output, size=self.size())
        reduction.check_op(op, shards.dtype)
        mine = reduction.before(self._mine(shards), op)
        out = self.transport.out_block(output, mine)
        call = self.transport.label("_REDUCE_SCATTER_BASE", shards, op)
        self._mine(output)
        blocks = await self.transport.reduce_scatter(mine, reduction.UFUNCS[op.name], call, out)
        blocks = reduction.after(blocks, op, self.size(), out)
        if blocks is not out:
            output[self._rows] = blocks.reshape(len(self.played), *output.shape[1:])

    async def reduce_scatter_rows(self, output: Array, inputs: Sequence[Array], op: ReduceOp) -> None:
        """Group rank k's row of ``output`` becomes the reduction of all members' ``inputs[k]``.

        The shapes of ``inputs`` may differ, but not between processes; ``output`` has the shape of its own.
        """
        if len(inputs) != self.size():
            raise RuntimeError(f"invalid input tensor list size, must be world size ({self.size()}, got {len(inputs)})")
        if not self.transport.has_uneven_blocks or len({part.shape for part in inputs}) == 1:
            check_list("reduce_scatter", "input", inputs, output, self.size())
            await self.reduce_scatter_single_rows(output, np.stack(inputs, axis=1), op)
            return
        check_parts("reduce_scatter", inputs, output, self.rank())
        reduction.check_op(op, output.dtype)
        mine = np.concatenate([self._mine(part).reshape(1, part.size) for part in inputs], axis=1)
        sizes = [part.size for part in inputs]
        call = self.transport.label("REDUCE_SCATTER", output, op)._replace(shape=tuple(sizes))
        self._mine(output)
        block = await self.transport.reduce_scatter(
            reduction.before(mine, op), reduction.UFUNCS[op.name], call, None, sizes
        )
        output[self._rows] = reduction.after(block, op, self.size(), None).reshape(output.shape)

    async def gather_rows(self, outputs: Sequence[Array], shards: Array, root: int) -> None:
        """On the root, ``outputs[k]`` becomes group rank k's row of ``shards``; elsewhere ``outputs`` is empty."""
        out, row = None, 0
        mine = self._mine(shards)
        if root in self.played:
            check_list("gather", "output", outputs, shards, self.size())
            row = self._row_of(root)
            out = self.transport.out_rows([output[row, ...] for output in outputs], mine)
        gathered = await self.transport.gather(mine, root, self.transport.label("GATHER", shards, f"root={root}"), out)
        if root in self.played and (gathered is not out or out is None):
            assert gathered is not None
            for output, shard in zip(outputs, np.array(gathered), strict=True):
                output[row] = shard

    async def scatter_rows(self, shards: Array, inputs: Sequence[Array], root: int) -> None:
        """Group rank k's row becomes the root's row of ``inputs[k]``; on other ranks ``inputs`` is empty."""
        mine = self._mine(shards)
        parts = None
        if root in self.played:
            check_list("scatter", "input", inputs, shards, self.size())
            row = self._row_of(root)
            parts = [part[row, ...] for part in inputs]
        out = self.transport.out_row(mine, *(parts or ()))
        call = self.transport.label("SCATTER", shards, f"root={root}")
        result = await self.transport.scatter(parts, root, call, mine[0, ...], out)
        if result is not out:
            shards[self._rows] = result

    async def alltoall_rows(self, outputs: Sequence[Array], inputs: Sequence[Array]) -> None:
        """``outputs[k]`` becomes group rank k's entry for this rank of its ``inputs``."""
        check_pairs(outputs, inputs, self.size())
        call = self.transport.label("ALLTOALL", inputs[0], shapeless=True)
        await self._all_to_all(outputs, inputs, call)

    async def alltoall_single_rows(
        self, output: Array, shards: Array, output_splits: Sequence[int] | None, input_splits: Sequence[int] | None
    ) -> None:
        """As ``alltoall_rows``, the entries being blocks of rows, whose lengths are the splits (None: even)."""
        check_pairs([output] * self.size(), [shards] * self.size(), self.size())
        if any(array.ndim < 2 for array in (output, shards)):
            raise RuntimeError("alltoall_base: tensors need an axis 0 to be split along")
        outs, ins = (
            split_bounds(array.shape[1], splits, self.size(), side)
            for array, splits, side in ((output, output_splits, "output"), (shards, input_splits, "input"))
        )
        call = self.transport.label("ALLTOALL_BASE", shards, shapeless=True)
        await self._all_to_all(
            [output[:, a:b] for a, b in pairwise(outs)],
            [shards[:, a:b] for a, b in pairwise(ins)],
            call,
        )

    async def barrier_round(self, name: str = "BARRIER") -> None:
        """Return when every member has called."""
        self._check_open()
        await self.transport.barrier(name)

    # -- parts of collectives ------------------------------------------------------------------------------------------

    async def _fold(self, mine: Array, op: ReduceOp, call: Call, out: Array | None = None) -> Array:
        reduction.check_op(op, mine.dtype)
        scaled = reduction.before(mine, op)
        total = await self.transport.all_fold(scaled, reduction.UFUNCS[op.name], call, out)
        return reduction.after(total, op, len(self.ranks), out)

    async def _gather_into(self, targets: Sequence[Array], outputs: Sequence[Array], shards: Array, name: str) -> None:
        """``outputs`` are whole tensors, ``targets`` the members' rows of them."""
        mine = self._mine(shards)
        out = self.transport.out_rows([target[0, ...] for target in targets], mine)
        gathered = await self.transport.all_gather(mine, self.transport.label(name, shards), out)
        if out is None or gathered is not out:
            # Copied: an output may be the input's own memory, or overlap it.
            for output, shard in zip(outputs, np.array(gathered), strict=True):
                output[self._rows] = shard

    async def _all_to_all(self, outputs: Sequence[Array], inputs: Sequence[Array], call: Call) -> None:
        parts, outs = [self._mine(array) for array in inputs], [self._mine(array) for array in outputs]
        results = await self.transport.all_to_all(parts, call, outs)
        for output, out, result in zip(outputs, outs, results, strict=True):
            if result is not out:
                output[self._rows] = result.reshape(len(self.played), *output.shape[1:])
