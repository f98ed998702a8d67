"""``CollectiveMethods``: torch's methods of a group that move arrays, ``group.allreduce([tensor])`` and others.

Each begins a collective.

All return a ``Work``; ``wait()`` waits for the ranks. Roots, sources and destinations are group ranks. The forms are
torch's: a list of one tensor (or one list of tensors per rank) with an option struct, or the tensor itself with plain
arguments; several tensors in one list belonged to several devices, which are not here. Errors as in
``api.collectives``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias

from fake_torch_dist.core.collective_options import (
    AllgatherOptions,
    AllreduceCoalescedOptions,
    AllreduceOptions,
    AllToAllOptions,
    BroadcastOptions,
    GatherOptions,
    ReduceOptions,
    ReduceScatterOptions,
    ScatterOptions,
)
from fake_torch_dist.core.method_arguments import (
    begin_call,
    checked_root,
    limit_of,
    list_of_tensors,
    only,
    only_list,
    rows_in,
)
from fake_torch_dist.core.reduce_op import ReduceOp
from fake_torch_dist.core.row_collectives import RowCollectives
from fake_torch_dist.core.tensor_lists import begin_gathering_each, begin_reducing_each
from fake_torch_dist.core.work import Tensor, Work

if TYPE_CHECKING:
    pass

Tensors: TypeAlias = "Tensor | Sequence[Tensor]"
Lists: TypeAlias = "Sequence[Tensor] | Sequence[Sequence[Tensor]]"


class CollectiveMethods(RowCollectives):
    """The methods of a process group for each collective."""

    __slots__ = ()

    def allreduce(
        self,
        tensors: Tensors,
        opts: AllreduceOptions | ReduceOp | None = None,
        timeout: timedelta | float | None = None,
        *,
        op: ReduceOp = ReduceOp.SUM,
    ) -> Work:
        """Reduce the tensor over the group, in place."""
        if isinstance(opts, AllreduceOptions):
            op, timeout = opts.reduceOp, opts.timeout
        elif opts is not None:
            op = opts
        tensor = only(tensors)
        return begin_call(self, self.allreduce_rows(rows_in(self, tensor, written=True), op), [tensor], timeout)

    def allreduce_coalesced(self, tensors: Sequence[Tensor], opts: AllreduceCoalescedOptions | None = None) -> Work:
        """Reduce every tensor of the list over the group, in place."""
        opts = opts or AllreduceCoalescedOptions()
        return begin_reducing_each(self, list_of_tensors(tensors, "tensors"), opts.reduceOp, limit_of(opts.timeout))

    def broadcast(
        self,
        tensors: Tensors,
        opts: BroadcastOptions | int | None = None,
        timeout: timedelta | float | None = None,
        *,
        root: int = 0,
    ) -> Work:
        """Give every member the root's tensor, in place."""
        if isinstance(opts, BroadcastOptions):
            root, timeout = opts.rootRank, opts.timeout
        elif opts is not None:
            root = opts
        tensor = only(tensors)
        root = checked_root("broadcast", self, root)
        rows = rows_in(self, tensor, written=root not in self.played)
        return begin_call(self, self.broadcast_rows(rows, root), [tensor], timeout)

    def reduce(
        self,
        tensors: Tensors,
        opts: ReduceOptions | int | None = None,
        op: ReduceOp = ReduceOp.SUM,
        timeout: timedelta | float | None = None,
        *,
        root: int = 0,
    ) -> Work:
        """Reduce the tensor into the root's."""
        if isinstance(opts, ReduceOptions):
            root, op, timeout = opts.rootRank, opts.reduceOp, opts.timeout
        elif opts is not None:
            root = opts
        tensor = only(tensors)
        root = checked_root("reduce", self, root)
        rows = rows_in(self, tensor, written=root in self.played)
        return begin_call(self, self.reduce_rows(rows, root, op), [tensor], timeout)

    def allgather(
        self,
        output_tensors: Lists,
        input_tensors: Tensors,
        opts: AllgatherOptions | None = None,
        timeout: timedelta | float | None = None,
    ) -> Work:
        """Fill the list of outputs with every member's input."""
        outputs, tensor = only_list(output_tensors), only(input_tensors)
        limit = timeout if opts is None else opts.timeout
        into = [rows_in(self, each, "output_tensors", written=True) for each in outputs]
        return begin_call(self, self.allgather_rows(into, rows_in(self, tensor)), outputs, limit)

    def allgather_coalesced(
        self,
        output_lists: Sequence[Sequence[Tensor]],
        input_list: Sequence[Tensor],
        opts: AllgatherOptions | None = None,
    ) -> Work:
        """Fill ``output_lists[k]`` with the list of group rank k."""
        outputs = [list_of_tensors(each, "output_lists") for each in list_of_tensors(output_lists, "output_lists")]
        inputs = list_of_tensors(input_list, "input_list")
        return begin_gathering_each(self, outputs, inputs, limit_of((opts or AllgatherOptions()).timeout))

    def all_gather_single(self, output: Tensor, input: Tensor, opts: AllgatherOptions | None = None) -> Work:
        """Fill ``output`` with every member's input, one after the other."""
        out, rows = rows_in(self, output, "output", written=True), rows_in(self, input, "input")
        return begin_call(self, self.allgather_single_rows(out, rows), [output], None if opts is None else opts.timeout)

    _allgather_base = all_gather_single

    def reduce_scatter(
        self,
        output_tensors: Tensors,
        input_tensors: Lists,
        opts: ReduceScatterOptions | ReduceOp | None = None,
        timeout: timedelta | float | None = None,
        *,
        op: ReduceOp = ReduceOp.SUM,
    ) -> Work:
        """Give group rank k the reduction of all members' k-th input."""
        if isinstance(opts, ReduceScatterOptions):
            op, timeout = opts.reduceOp, opts.timeout
        elif opts is not None:
            op = opts
        output = only(output_tensors)
        inputs = [rows_in(self, each, "input_tensors") for each in only_list(input_tensors)]
        rows = rows_in(self, output, "output_tensors", written=True)
        return begin_call(self, self.reduce_scatter_rows(rows, inputs, op), [output], timeout)

    def reduce_scatter_single(
        self, outputTensor: Tensor, inputTensor: Tensor, opts: ReduceScatterOptions | None = None
    ) -> Work:
        """Give group rank k block k of the reduction of ``inputTensor``."""
        opts = opts or ReduceScatterOptions()
        out, rows = rows_in(self, outputTensor, "outputTensor", written=True), rows_in(self, inputTensor, "inputTensor")
        return begin_call(self, self.reduce_scatter_single_rows(out, rows, opts.reduceOp), [outputTensor], opts.timeout)

    _reduce_scatter_base = reduce_scatter_single

    def gather(
        self,
        output_tensors: Lists,
        input_tensors: Tensors,
        opts: GatherOptions | int | None = None,
        timeout: timedelta | float | None = None,
        *,
        root: int = 0,
    ) -> Work:
        """Fill the root's list of outputs with every member's input; elsewhere that list is empty."""
        if isinstance(opts, GatherOptions):
            root, timeout = opts.rootRank, opts.timeout
        elif opts is not None:
            root = opts
        outputs, tensor = only_list(output_tensors), only(input_tensors)
        root = checked_root("gather", self, root)
        into = [rows_in(self, each, "output_tensors", written=True) for each in outputs]
        return begin_call(self, self.gather_rows(into, rows_in(self, tensor), root), outputs, timeout)

    def scatter(
        self,
        output_tensors: Tensors,
        input_tensors: Lists,
        opts: ScatterOptions | int | None = None,
        timeout: timedelta | float | None = None,
        *,
        root: int = 0,
    ) -> Work:
        """Give group rank k the root's k-th input; elsewhere the list of inputs is empty."""
        if isinstance(opts, ScatterOptions):
            root, timeout = opts.rootRank, opts.timeout
        elif opts is not None:
            root = opts
        output = only(output_tensors)
        root = checked_root("scatter", self, root)
        inputs = [rows_in(self, each, "input_tensors") for each in only_list(input_tensors)]
        rows = rows_in(self, output, "output_tensors", written=True)
        return begin_call(self, self.scatter_rows(rows, inputs, root), [output], timeout)

    def alltoall(
        self,
        output_tensors: Sequence[Tensor],
        input_tensors: Sequence[Tensor],
        opts: AllToAllOptions | None = None,
    ) -> Work:
        """Fill output k with group rank k's input for this rank."""
        into, given = list_of_tensors(output_tensors, "output_tensors"), list_of_tensors(input_tensors, "input_tensors")
        outputs = [rows_in(self, each, "output_tensors", written=True) for each in into]
        inputs = [rows_in(self, each, "input_tensors") for each in given]
        return begin_call(self, self.alltoall_rows(outputs, inputs), into, None if opts is None else opts.timeout)

    def all_to_all_single(
        self,
        output: Tensor,
        input: Tensor,
        output_split_sizes: Sequence[int],
        input_split_sizes: Sequence[int],
        opts: AllToAllOptions | timedelta | None = None,
    ) -> Work:
        """``alltoall`` of blocks of rows of one tensor; without sizes the blocks are equal."""
        timeout = opts.timeout if isinstance(opts, AllToAllOptions) else opts
        out, rows = rows_in(self, output, "output", written=True), rows_in(self, input, "input")
        return begin_call(
            self, self.alltoall_single_rows(out, rows, output_split_sizes, input_split_sizes), [output], timeout
        )

    alltoall_base = all_to_all_single
