"""torch's methods of a ProcessGroup: ``group.allreduce([tensor])`` and the others, each beginning a collective.

All return a ``Work``; ``wait()`` waits for the ranks. Roots, sources and destinations are group ranks. The forms are
torch's: a list of one tensor (or one list of tensors per rank) with an option struct, or the tensor itself with plain
arguments; several tensors in one list belonged to several devices, which are not here. Errors as collectives.py.
``ProcessGroup`` binds these functions; they import what knows of the list of groups when they are called.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from fake_torch_dist.api.collective_options import (
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
from fake_torch_dist.api.group_arguments import as_duration
from fake_torch_dist.core.reduction import Array, ReduceOp

if TYPE_CHECKING:
    from fake_torch_dist.api.call import Tensor
    from fake_torch_dist.api.work import Work
    from fake_torch_dist.core.process_group import ProcessGroup
    from fake_torch_dist.stores import Store

    Tensors: TypeAlias = Tensor | Sequence[Tensor]
    Lists: TypeAlias = Sequence[Tensor] | Sequence[Sequence[Tensor]]


def allreduce(
    group: ProcessGroup,
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
    tensor = _only(tensors)
    return _begin(group, group.allreduce_rows(_rows(group, tensor, written=True), op), [tensor], timeout)


def allreduce_coalesced(
    group: ProcessGroup, tensors: Sequence[Tensor], opts: AllreduceCoalescedOptions | None = None
) -> Work:
    """Reduce every tensor of the list over the group, in place."""
    from fake_torch_dist.api.coalesced import begin_reducing_each

    opts = opts or AllreduceCoalescedOptions()
    return begin_reducing_each(group, list(tensors), opts.reduceOp, _limit(opts.timeout))


def broadcast(
    group: ProcessGroup,
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
    root = _root("broadcast", group, root)
    rows = _rows(group, tensor, written=root not in group.played)
    return _begin(group, group.broadcast_rows(rows, root), [tensor], timeout)


def reduce(
    group: ProcessGroup,
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
    root = _root("reduce", group, root)
    rows = _rows(group, tensor, written=root in group.played)
    return _begin(group, group.reduce_rows(rows, root, op), [tensor], timeout)


def allgather(
    group: ProcessGroup,
    output_tensors: Lists,
    input_tensors: Tensors,
    opts: AllgatherOptions | None = None,
    timeout: timedelta | float | None = None,
) -> Work:
    """Fill the list of outputs with every member's input."""
    outputs, tensor = _only_list(output_tensors), _only(input_tensors)
    limit = timeout if opts is None else opts.timeout
    into = [_rows(group, each, "output_tensors", written=True) for each in outputs]
    return _begin(group, group.allgather_rows(into, _rows(group, tensor)), outputs, limit)


def allgather_coalesced(
    group: ProcessGroup,
    output_lists: Sequence[Sequence[Tensor]],
    input_list: Sequence[Tensor],
    opts: AllgatherOptions | None = None,
) -> Work:
    """Fill ``output_lists[k]`` with the list of group rank k."""
    from fake_torch_dist.api.coalesced import begin_gathering_each

    outputs = [list(each) for each in output_lists]
    return begin_gathering_each(group, outputs, list(input_list), _limit((opts or AllgatherOptions()).timeout))


def allgather_base(group: ProcessGroup, output: Tensor, input: Tensor, opts: AllgatherOptions | None = None) -> Work:
    """Fill ``output`` with every member's input, one after the other."""
    out, rows = _rows(group, output, "output", written=True), _rows(group, input, "input")
    return _begin(group, group.allgather_single_rows(out, rows), [output], None if opts is None else opts.timeout)


def reduce_scatter(
    group: ProcessGroup,
    output_tensors: Tensors,
    input_tensors: Lists,
    opts: ReduceScatterOptions | ReduceOp | None = None,
    timeout: timedelta | float | None = None,
    *,
    op: ReduceOp = ReduceOp.SUM,
) -> Work:
    """Give group rank k the reduction of everybody's k-th input."""
    if isinstance(opts, ReduceScatterOptions):
        op, timeout = opts.reduceOp, opts.timeout
    elif opts is not None:
        op = opts
    output = _only(output_tensors)
    inputs = [_rows(group, each, "input_tensors") for each in _only_list(input_tensors)]
    rows = _rows(group, output, "output_tensors", written=True)
    return _begin(group, group.reduce_scatter_rows(rows, inputs, op), [output], timeout)


def reduce_scatter_base(
    group: ProcessGroup, outputTensor: Tensor, inputTensor: Tensor, opts: ReduceScatterOptions | None = None
) -> Work:
    """Give group rank k block k of the reduction of ``inputTensor``."""
    opts = opts or ReduceScatterOptions()
    out, rows = _rows(group, outputTensor, "outputTensor", written=True), _rows(group, inputTensor, "inputTensor")
    return _begin(group, group.reduce_scatter_single_rows(out, rows, opts.reduceOp), [outputTensor], opts.timeout)


def gather(
    group: ProcessGroup,
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
    root = _root("gather", group, root)
    into = [_rows(group, each, "output_tensors", written=True) for each in outputs]
    return _begin(group, group.gather_rows(into, _rows(group, tensor), root), outputs, timeout)


def scatter(
    group: ProcessGroup,
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
    root = _root("scatter", group, root)
    inputs = [_rows(group, each, "input_tensors") for each in _only_list(input_tensors)]
    rows = _rows(group, output, "output_tensors", written=True)
    return _begin(group, group.scatter_rows(rows, inputs, root), [output], timeout)


def alltoall(
    group: ProcessGroup,
    output_tensors: Sequence[Tensor],
    input_tensors: Sequence[Tensor],
    opts: AllToAllOptions | None = None,
) -> Work:
    """Fill output k with group rank k's input for this rank."""
    outputs = [_rows(group, each, "output_tensors", written=True) for each in output_tensors]
    inputs = [_rows(group, each, "input_tensors") for each in input_tensors]
    return _begin(
        group, group.alltoall_rows(outputs, inputs), list(output_tensors), None if opts is None else opts.timeout
    )


def alltoall_base(
    group: ProcessGroup,
    output: Tensor,
    input: Tensor,
    output_split_sizes: Sequence[int],
    input_split_sizes: Sequence[int],
    opts: AllToAllOptions | timedelta | None = None,
) -> Work:
    """``alltoall`` of blocks of rows of one tensor; without sizes the blocks are equal."""
    timeout = opts.timeout if isinstance(opts, AllToAllOptions) else opts
    out, rows = _rows(group, output, "output", written=True), _rows(group, input, "input")
    splits = list(output_split_sizes) or None, list(input_split_sizes) or None
    return _begin(group, group.alltoall_single_rows(out, rows, *splits), [output], timeout)


def barrier(
    group: ProcessGroup,
    opts: BarrierOptions | timedelta | float | None = None,
    timeout: timedelta | float | None = None,
) -> Work:
    """Begin a barrier; its ``wait()`` waits for every member."""
    limit = opts.timeout if isinstance(opts, BarrierOptions) else timeout if opts is None else opts
    return _begin(group, group.barrier_round(), [], limit)


def monitored_barrier(group: ProcessGroup, timeout: timedelta | None = None, wait_all_ranks: bool = False) -> None:
    """Wait for every member, and say which did not come."""
    from fake_torch_dist.api.collectives import monitored_barrier

    monitored_barrier(group, timeout, wait_all_ranks)


def send(group: ProcessGroup, tensors: Tensors, dstRank: int, tag: int) -> Work:
    """Begin to send the tensor to a group rank."""
    from fake_torch_dist.api.point_to_point import isend

    return _there(isend(_only(tensors), group=group, tag=tag, group_dst=dstRank))


def recv(group: ProcessGroup, tensors: Tensors, srcRank: int, tag: int) -> Work:
    """Begin to receive a tensor from a group rank."""
    from fake_torch_dist.api.point_to_point import irecv

    return _there(irecv(_only(tensors), group=group, tag=tag, group_src=srcRank))


def recv_anysource(group: ProcessGroup, tensors: Tensors, tag: int) -> Work:
    """Begin to receive a tensor from whichever member sends first."""
    from fake_torch_dist.api.point_to_point import irecv

    return _there(irecv(_only(tensors), group=group, tag=tag))


def set_timeout(group: ProcessGroup, timeout: timedelta | float) -> None:
    """Change how long the group's later collectives wait for their members."""
    group.timeout = as_duration(timeout)


def get_group_store(group: ProcessGroup) -> Store:
    """The store in which the ranks met. RuntimeError where they met in none, as in the virtual world."""
    from fake_torch_dist.api.registry import world

    if world.store is None:
        raise RuntimeError(f"{group} has no store: its ranks did not meet in one")
    return world.store


# -- what they share --------------------------------------------------------------------------------------------------


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


def _rows(group: ProcessGroup, tensor: Any, name: str = "tensors", *, written: bool = False) -> Array:
    from fake_torch_dist.api.call import rows_of

    return rows_of(group, tensor, name, written=written)


def _root(what: str, group: ProcessGroup, root: int) -> int:
    from fake_torch_dist.api.call import root_of

    return root_of(what, group, None, root)


def _limit(timeout: timedelta | float | None) -> timedelta | None:
    """A timeout as the engine takes it; None: the group's."""
    limit = None if timeout is None else as_duration(timeout)
    return None if limit is None or limit < timedelta(0) else limit


def _begin(
    group: ProcessGroup, coroutine: Coroutine[Any, Any, Any], tensors: list[Any], timeout: timedelta | float | None
) -> Work:
    from fake_torch_dist.api.call import begin

    try:
        limit = _limit(timeout)
    except TypeError:
        coroutine.close()
        raise
    return _there(begin(group, coroutine, tensors, timeout=limit))


def _there(work: Work | None) -> Work:
    assert work is not None
    return work
