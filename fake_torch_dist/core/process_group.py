"""Process groups: what each collective means, as numpy on arrays with a leading axis of the ranks played here.

A collective is written once, on top of a *transport* that only moves bytes. In the virtual world a process plays every
member and moving is indexing; a process that plays one rank hands the same methods arrays whose leading axis is 1 long.
``allreduce_rows`` and the like are coroutines: ``tasks.run_alone`` runs one in the virtual world, an ``Engine`` lets
many go on at once.

What this module does not do: torch's argument rules (collectives.py), torch's methods of a group (group_methods.py) and
the list of groups (world.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NoReturn

import numpy as np

from fake_torch_dist import errors
from fake_torch_dist.core import group_methods, reduction
from fake_torch_dist.core.checks import check_blocks, check_list, check_pairs, check_parts, split_bounds
from fake_torch_dist.core.fingerprint import Call
from fake_torch_dist.core.output_buffers import writable_block, writable_row, writable_rows
from fake_torch_dist.core.reduction import Array, ReduceOp
from fake_torch_dist.core.transport import Transport
from fake_torch_dist.torch_names import no_such_attribute

if TYPE_CHECKING:
    from fake_torch_dist.transports.engine import Engine

_UNSAID: Final = Call("", "", ())
"""In the virtual world nobody compares."""


class ProcessGroup:
    """An ordered set of ranks that communicate. Made by ``init_process_group`` and ``new_group``.

    Roots are group ranks. Arrays are of shape (ranks played here, \\*shape), members of other groups included; only the
    members' rows are read and written. Shapes and dtypes are checked here, roots and tensors in collectives.py.
    """

    __slots__ = (
        "_rows", "backend", "engine", "group_desc", "group_name", "is_open", "num_local", "number", "played", "ranks",
        "ranks_per_node", "timeout", "transport",
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
        engine: Engine | None = None,
        number: int = 0,
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
        self.engine = engine
        """What moves messages in a process that plays one rank; None in the virtual world."""
        self.number = number
        """The group's in messages between processes."""
        self.is_open = True

    def __repr__(self) -> str:
        return f"<ProcessGroup {self.group_name!r} of {self.size()} ranks, backend {self.backend!r}>"

    def __getattr__(self, name: str) -> NoReturn:
        raise no_such_attribute("ProcessGroup", name)

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

    bound_device_id: Final = None
    """torch's: the device of an NCCL group. There are no devices."""

    def _get_backend_name(self) -> str:
        """As ``name``."""
        return self.backend

    # -- torch's methods ----------------------------------------------------------------------------------------------

    allreduce = group_methods.allreduce
    allreduce_coalesced = group_methods.allreduce_coalesced
    broadcast = group_methods.broadcast
    reduce = group_methods.reduce
    allgather = group_methods.allgather
    allgather_coalesced = group_methods.allgather_coalesced
    all_gather_single = _allgather_base = group_methods.allgather_base
    reduce_scatter = group_methods.reduce_scatter
    reduce_scatter_single = _reduce_scatter_base = group_methods.reduce_scatter_base
    gather = group_methods.gather
    scatter = group_methods.scatter
    alltoall = group_methods.alltoall
    all_to_all_single = alltoall_base = group_methods.alltoall_base
    barrier = group_methods.barrier
    monitored_barrier = group_methods.monitored_barrier
    send = group_methods.send
    recv = group_methods.recv
    recv_anysource = group_methods.recv_anysource
    set_timeout = group_methods.set_timeout
    get_group_store = group_methods.get_group_store

    # -- collectives of rows ------------------------------------------------------------------------------------------

    async def allreduce_rows(self, shards: Array, op: ReduceOp) -> None:
        """Every member's row becomes the reduction of all."""
        out = None if self.engine is None else writable_row(self._mine(shards))
        result = await self._fold("ALLREDUCE", shards, op, "", out)
        if result is not out:
            shards[self._rows] = result

    async def reduce_rows(self, shards: Array, root: int, op: ReduceOp) -> None:
        """The root's row becomes the reduction. The others keep theirs, which torch does not promise."""
        result = await self._fold("REDUCE", shards, op, f"root={root}")
        if root in self.played:
            shards[self._row_of(root)] = result

    async def broadcast_rows(self, shards: Array, root: int) -> None:
        """Every member's row becomes the root's."""
        mine = self._mine(shards)
        out = writable_row(mine) if self.engine is not None else None
        result = await self.transport.broadcast(mine, root, self._call("BROADCAST", shards, f"root={root}"), out)
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
        gathered = await self.transport.all_gather(self._mine(shards), self._call("_ALLGATHER_BASE", shards))
        output[self._rows] = np.array(gathered).reshape(output.shape[1:])

    async def reduce_scatter_single_rows(self, output: Array, shards: Array, op: ReduceOp) -> None:
        """Group rank k's row of ``output`` becomes block k of the reduction; shapes as in ``allgather_single_rows``."""
        check_blocks("reduce_scatter", whole=shards, part=output, size=self.size())
        reduction.check_op(op, shards.dtype)
        mine = reduction.before(self._mine(shards), op)
        out = writable_block(output, mine, self.played[0]) if self.engine is not None else None
        call = self._call("_REDUCE_SCATTER_BASE", shards, str(op))
        self._mine(output)
        blocks = await self.transport.reduce_scatter(mine, reduction.UFUNCS[op.name], call, out)
        blocks = reduction.after(blocks, op, self.size(), out)
        if blocks is not out:
            output[self._rows] = blocks.reshape(len(self.played), *output.shape[1:])

    async def reduce_scatter_rows(self, output: Array, inputs: Sequence[Array], op: ReduceOp) -> None:
        """Group rank k's row of ``output`` becomes the reduction of everybody's ``inputs[k]``.

        The shapes of ``inputs`` may differ, but not between processes; ``output`` has the shape of its own.
        """
        if len(inputs) != self.size():
            raise RuntimeError(f"invalid input tensor list size, must be world size ({self.size()}, got {len(inputs)})")
        if self.engine is None or len({part.shape for part in inputs}) == 1:
            check_list("reduce_scatter", "input", inputs, output, self.size())
            await self.reduce_scatter_single_rows(output, np.stack(inputs, axis=1), op)
            return
        check_parts("reduce_scatter", inputs, output, self.rank())
        reduction.check_op(op, output.dtype)
        mine = np.concatenate([self._mine(part).reshape(1, part.size) for part in inputs], axis=1)
        sizes = [part.size for part in inputs]
        call = Call("REDUCE_SCATTER", _name_of(output.dtype), tuple(sizes), str(op))
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
            out = self._rows_of([output[row, ...] for output in outputs], mine)
        gathered = await self.transport.gather(mine, root, self._call("GATHER", shards, f"root={root}"), out)
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
        out = None
        if self.engine is not None and not any(np.may_share_memory(mine, part) for part in parts or ()):
            out = writable_row(mine)
        call = self._call("SCATTER", shards, f"root={root}")
        result = await self.transport.scatter(parts, root, call, mine[0, ...], out)
        if result is not out:
            shards[self._rows] = result

    async def alltoall_rows(self, outputs: Sequence[Array], inputs: Sequence[Array]) -> None:
        """``outputs[k]`` becomes group rank k's entry for this rank of its ``inputs``."""
        check_pairs(outputs, inputs, self.size())
        call = self._call("ALLTOALL", inputs[0], shapeless=True)
        await self._all_to_all(outputs, inputs, call)

    async def alltoall_single_rows(
        self, output: Array, shards: Array, output_splits: Sequence[int] | None, input_splits: Sequence[int] | None
    ) -> None:
        """As ``alltoall_rows``, the entries being blocks of rows, of which the splits say the lengths (None: even)."""
        check_pairs([output] * self.size(), [shards] * self.size(), self.size())
        if any(array.ndim < 2 for array in (output, shards)):
            raise RuntimeError("alltoall_base: tensors need an axis 0 to be split along")
        outs, ins = (
            split_bounds(array.shape[1], splits, self.size(), side)
            for array, splits, side in ((output, output_splits, "output"), (shards, input_splits, "input"))
        )
        call = self._call("ALLTOALL_BASE", shards, shapeless=True)
        await self._all_to_all(
            [output[:, a:b] for a, b in pairwise(outs)],
            [shards[:, a:b] for a, b in pairwise(ins)],
            call,
        )

    async def barrier_round(self, name: str = "BARRIER") -> None:
        """Return when every member has come."""
        self._check_open()
        await self.transport.barrier(_UNSAID if self.engine is None else Call(name, "", ()))

    # -- what they share ----------------------------------------------------------------------------------------------

    def _call(self, name: str, shards: Array, detail: str = "", shapeless: bool = False) -> Call:
        if self.engine is None:
            return _UNSAID
        return Call(name, _name_of(shards.dtype), () if shapeless else shards.shape[1:], detail)

    async def _fold(self, name: str, shards: Array, op: ReduceOp, root: str, out: Array | None = None) -> Array:
        reduction.check_op(op, shards.dtype)
        mine = reduction.before(self._mine(shards), op)
        call = self._call(name, shards, f"{op}{root and ', '}{root}" if self.engine is not None else "")
        total = await self.transport.all_fold(mine, reduction.UFUNCS[op.name], call, out)
        return reduction.after(total, op, len(self.ranks), out)

    async def _gather_into(self, targets: Sequence[Array], outputs: Sequence[Array], shards: Array, name: str) -> None:
        """``outputs`` are whole tensors, ``targets`` the members' rows of them."""
        mine = self._mine(shards)
        out = self._rows_of([target[0, ...] for target in targets], mine)
        gathered = await self.transport.all_gather(mine, self._call(name, shards), out)
        if out is None or gathered is not out:
            # Copied: an output may be the input's own memory, or overlap it.
            for output, shard in zip(outputs, np.array(gathered), strict=True):
                output[self._rows] = shard

    async def _all_to_all(self, outputs: Sequence[Array], inputs: Sequence[Array], call: Call) -> None:
        parts, outs = [self._mine(array) for array in inputs], [self._mine(array) for array in outputs]
        if self.engine is not None:
            parts, outs = [part[0, ...] for part in parts], [out[0, ...] for out in outs]
        results = await self.transport.all_to_all(parts, call, outs)
        for output, out, result in zip(outputs, outs, results, strict=True):
            if result is not out:
                output[self._rows] = result.reshape(len(self.played), *output.shape[1:])

    def _rows_of(self, rows: list[Array], mine: Array) -> list[Array] | None:
        return None if self.engine is None else writable_rows(rows, mine, self.played[0])

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


@cache
def _name_of(dtype: np.dtype[Any]) -> str:
    """numpy puts a dtype's name together anew each time it is asked for."""
    return dtype.name


def _as_slice(rows: Sequence[int]) -> slice | Array:
    """``rows`` as a slice if evenly spaced and rising, so that indexing makes a view instead of a copy."""
    step = rows[1] - rows[0] if len(rows) > 1 else 1
    if step > 0 and list(rows) == list(range(rows[0], rows[-1] + 1, step)):
        return slice(rows[0], rows[-1] + 1, step)
    return np.array(rows)
