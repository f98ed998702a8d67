"""``ProcessGroup``: torch's methods of a group, ``group.allreduce([tensor])`` and others. Each begins a collective.

All return a ``Work``; ``wait()`` waits for the ranks. Roots, sources and destinations are group ranks. The forms are
torch's: a list of one tensor (or one list of tensors per rank) with an option struct, or the tensor itself with plain
arguments; several tensors in one list belonged to several devices, which are not here. Errors as in
``api.collectives``.
"""

from __future__ import annotations

import warnings
from collections.abc import Coroutine, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

from fake_torch_dist import errors
from fake_torch_dist.core.checks import as_duration, check_timeout
from fake_torch_dist.core.collective_options import (
    AllgatherOptions,
    AllreduceCoalescedOptions,
    AllreduceOptions,
    AllToAllOptions,
    BarrierOptions,
    BroadcastOptions,
    GatherOptions,
    ReduceOptions,
    ReduceScatterOptions,
    ScatterOptions,
)
from fake_torch_dist.core.reduction import Array, ReduceOp
from fake_torch_dist.core.row_collectives import RowCollectives
from fake_torch_dist.core.sending import begin_receive, begin_send, peer_of
from fake_torch_dist.core.tensor_lists import begin_gathering_each, begin_reducing_each
from fake_torch_dist.core.transport import ANY_SOURCE
from fake_torch_dist.core.work import Tensor, Work, begin, finish
from fake_torch_dist.torch_names import no_such_attribute

if TYPE_CHECKING:
    from fake_torch_dist.stores.base import Store

Tensors: TypeAlias = "Tensor | Sequence[Tensor]"
Lists: TypeAlias = "Sequence[Tensor] | Sequence[Sequence[Tensor]]"


class ProcessGroup(RowCollectives):
    """An ordered set of ranks that communicate. Made by ``init_process_group`` and ``new_group``."""

    __slots__ = ()

    bound_device_id: Final = None
    """torch's: the device of an NCCL group. There are no devices."""

    def __getattr__(self, name: str) -> NoReturn:
        raise no_such_attribute("ProcessGroup", name)

    def name(self) -> str:
        """Name of the backend, as torch's method of this name."""
        return self.backend

    _get_backend_name = name

    def allreduce(
        self,
        tensors: Tensors,
        opts: AllreduceOptions | ReduceOp | None = None,
        timeout: timedelta | float | None = None,
        *,
        op: ReduceOp = ReduceOp.SUM,
    ) -> Work:
        """Reduce the tensor over the self, in place."""
        if isinstance(opts, AllreduceOptions):
            op, timeout = opts.reduceOp, opts.timeout
        elif opts is not None:
            op = opts
        tensor = _only(tensors)
        return _begin(self, self.allreduce_rows(_rows(self, tensor, written=True), op), [tensor], timeout)

    def allreduce_coalesced(self, tensors: Sequence[Tensor], opts: AllreduceCoalescedOptions | None = None) -> Work:
        """Reduce every tensor of the list over the self, in place."""
        opts = opts or AllreduceCoalescedOptions()
        return begin_reducing_each(self, list(tensors), opts.reduceOp, _limit(opts.timeout))

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
        tensor = _only(tensors)
        root = _root("broadcast", self, root)
        rows = _rows(self, tensor, written=root not in self.played)
        return _begin(self, self.broadcast_rows(rows, root), [tensor], timeout)

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
        tensor = _only(tensors)
        root = _root("reduce", self, root)
        rows = _rows(self, tensor, written=root in self.played)
        return _begin(self, self.reduce_rows(rows, root, op), [tensor], timeout)

    def allgather(
        self,
        output_tensors: Lists,
        input_tensors: Tensors,
        opts: AllgatherOptions | None = None,
        timeout: timedelta | float | None = None,
    ) -> Work:
        """Fill the list of outputs with every member's input."""
        outputs, tensor = _only_list(output_tensors), _only(input_tensors)
        limit = timeout if opts is None else opts.timeout
        into = [_rows(self, each, "output_tensors", written=True) for each in outputs]
        return _begin(self, self.allgather_rows(into, _rows(self, tensor)), outputs, limit)

    def allgather_coalesced(
        self,
        output_lists: Sequence[Sequence[Tensor]],
        input_list: Sequence[Tensor],
        opts: AllgatherOptions | None = None,
    ) -> Work:
        """Fill ``output_lists[k]`` with the list of group rank k."""
        outputs = [list(each) for each in output_lists]
        return begin_gathering_each(self, outputs, list(input_list), _limit((opts or AllgatherOptions()).timeout))

    def all_gather_single(self, output: Tensor, input: Tensor, opts: AllgatherOptions | None = None) -> Work:
        """Fill ``output`` with every member's input, one after the other."""
        out, rows = _rows(self, output, "output", written=True), _rows(self, input, "input")
        return _begin(self, self.allgather_single_rows(out, rows), [output], None if opts is None else opts.timeout)

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
        output = _only(output_tensors)
        inputs = [_rows(self, each, "input_tensors") for each in _only_list(input_tensors)]
        rows = _rows(self, output, "output_tensors", written=True)
        return _begin(self, self.reduce_scatter_rows(rows, inputs, op), [output], timeout)

    def reduce_scatter_single(
        self, outputTensor: Tensor, inputTensor: Tensor, opts: ReduceScatterOptions | None = None
    ) -> Work:
        """Give group rank k block k of the reduction of ``inputTensor``."""
        opts = opts or ReduceScatterOptions()
        out, rows = _rows(self, outputTensor, "outputTensor", written=True), _rows(self, inputTensor, "inputTensor")
        return _begin(self, self.reduce_scatter_single_rows(out, rows, opts.reduceOp), [outputTensor], opts.timeout)

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
        outputs, tensor = _only_list(output_tensors), _only(input_tensors)
        root = _root("gather", self, root)
        into = [_rows(self, each, "output_tensors", written=True) for each in outputs]
        return _begin(self, self.gather_rows(into, _rows(self, tensor), root), outputs, timeout)

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
        output = _only(output_tensors)
        root = _root("scatter", self, root)
        inputs = [_rows(self, each, "input_tensors") for each in _only_list(input_tensors)]
        rows = _rows(self, output, "output_tensors", written=True)
        return _begin(self, self.scatter_rows(rows, inputs, root), [output], timeout)

    def alltoall(
        self,
        output_tensors: Sequence[Tensor],
        input_tensors: Sequence[Tensor],
        opts: AllToAllOptions | None = None,
    ) -> Work:
        """Fill output k with group rank k's input for this rank."""
        outputs = [_rows(self, each, "output_tensors", written=True) for each in output_tensors]
        inputs = [_rows(self, each, "input_tensors") for each in input_tensors]
        return _begin(
            self, self.alltoall_rows(outputs, inputs), list(output_tensors), None if opts is None else opts.timeout
        )

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
        out, rows = _rows(self, output, "output", written=True), _rows(self, input, "input")
        splits = list(output_split_sizes) or None, list(input_split_sizes) or None
        return _begin(self, self.alltoall_single_rows(out, rows, *splits), [output], timeout)

    alltoall_base = all_to_all_single

    def barrier(
        self,
        opts: BarrierOptions | timedelta | float | None = None,
        timeout: timedelta | float | None = None,
    ) -> Work:
        """Begin a barrier; its ``wait()`` waits for every member."""
        limit = opts.timeout if isinstance(opts, BarrierOptions) else timeout if opts is None else opts
        return _begin(self, self.barrier_round(), [], limit)

    def monitored_barrier(self, timeout: timedelta | float | None = None, wait_all_ranks: bool = False) -> None:
        """Wait for every member. Group rank 0 names the first absent rank, or with ``wait_all_ranks`` all of them.

        A ``timeout`` that is a float is seconds, with torch's warning. Errors: RuntimeError, torch's text, on rank 0
        and on the others that came; ValueError for backends nccl and fake.
        """
        if isinstance(timeout, float):
            warnings.warn(errors.FLOAT_TIMEOUT.format(timeout=timeout), stacklevel=2)
            timeout = as_duration(timeout)
        check_timeout(timeout)
        self._check_open()
        if self.backend in ("nccl", "fake"):
            raise ValueError(errors.ONLY_GLOO_MONITORS)
        limit = self.timeout if timeout is None else timeout
        try:
            finish(self, self.barrier_round("MONITORED_BARRIER"), limit)
        except (errors.TimedOutError, errors.PeerGoneError) as failure:
            raise errors.DistBackendError(self._text_of_absent(failure, limit, wait_all_ranks)) from None

    def _text_of_absent(
        self, failure: errors.TimedOutError | errors.PeerGoneError, limit: timedelta, wait_all_ranks: bool
    ) -> str:
        """torch's text for members that did not come to a monitored barrier."""
        if self.rank():
            return f"{errors.BARRIER_PASSED.format(rank=self.global_rank(), leader=self.ranks[0])} ({failure})"
        limit_ms = round(limit.total_seconds() * 1e3)
        if limit_ms <= 0:
            return errors.BARRIER_OUT_OF_TIME.format(timeout_ms=limit_ms)
        named = ", ".join(map(str, failure.ranks if wait_all_ranks else failure.ranks[:1]))
        absent = f"{'Ranks' if wait_all_ranks else 'Rank'} {named}"
        return errors.BARRIER_FAILED.format(absent=absent, timeout_ms=limit_ms)

    def send(self, tensors: Tensors, dstRank: int, tag: int) -> Work:
        """Begin to send the tensor to a group rank."""
        self._check_open()
        return begin_send(self, _only(tensors), peer_of(self, "destination", dstRank), tag)

    def recv(self, tensors: Tensors, srcRank: int, tag: int) -> Work:
        """Begin to receive a tensor from a group rank."""
        self._check_open()
        return begin_receive(self, _only(tensors), peer_of(self, "source", srcRank), tag)

    def recv_anysource(self, tensors: Tensors, tag: int) -> Work:
        """Begin to receive a tensor from whichever member sends first."""
        self._check_open()
        return begin_receive(self, _only(tensors), ANY_SOURCE, tag)

    def set_timeout(self, timeout: timedelta | float) -> None:
        """Change how long the group's later collectives wait for their members."""
        self.timeout = as_duration(timeout)

    def get_group_store(self) -> Store:
        """The store in which the ranks met. RuntimeError where they met in none, as in the virtual world."""
        if self.store is None:
            raise RuntimeError(f"{self} has no store: its ranks did not meet in one")
        return self.store


# -- arguments ---------------------------------------------------------------------------------------------------------


def _only(tensors: Any) -> Any:
    """The one tensor of a list, or the tensor itself."""
    if not isinstance(tensors, list | tuple):
        return tensors
    if len(tensors) != 1:
        raise RuntimeError(f"a list of one tensor is expected, as this process has one device; got {len(tensors)}")
    return tensors[0]


def _only_list(tensors: Any) -> list[Any]:
    """The one list of a list of lists, or the list itself; a list that is empty stays so."""
    if not isinstance(tensors, list | tuple):
        raise TypeError(f"a list of tensors is expected, got {type(tensors).__name__}")
    if tensors and isinstance(tensors[0], list | tuple):
        return list(_only(tensors))
    return list(tensors)


def _rows(group: RowCollectives, tensor: Any, name: str = "tensors", *, written: bool = False) -> Array:
    return group.transport.rows_of(tensor, name, written=written)


def _root(what: str, group: RowCollectives, root: int) -> int:
    group.check_root(what, root)
    return root


def _limit(timeout: timedelta | float | None) -> timedelta | None:
    """A timeout as ``begin`` takes it; None: the group's."""
    limit = None if timeout is None else as_duration(timeout)
    return None if limit is None or limit < timedelta(0) else limit


def _begin(
    group: RowCollectives, coroutine: Coroutine[Any, Any, Any], tensors: list[Any], timeout: timedelta | float | None
) -> Work:
    try:
        limit = _limit(timeout)
    except TypeError:
        coroutine.close()
        raise
    return begin(group, coroutine, tensors, limit)
