"""torch's collectives: check the arguments, find the group, call it, return ``Work`` if one is asked for.

Names, parameters, defaults and in-place effects are torch's. In the virtual world tensors are ``LocalTensor``: a call
is made once for all ranks, a list of tensors is one list for all ranks, and only the members' shards change. In a
process that plays one rank tensors are ndarrays, contiguous or not, and every member makes the call.

Errors in all of them: ValueError before ``init_process_group`` and for a group that has ended, TypeError for anything
but a tensor, ValueError or RuntimeError (torch's class) for roots, lists, shapes and dtypes that don't fit; between
processes MismatchError on all members if they call different things, PeerGoneError if one has ended, TimedOutError if
one does not come. All of these are RuntimeErrors, and the group stays usable unless a member has ended. A process that
is no member gets torch's warning and None.

What this module does not do: all_to_all (``alltoall``), the coalesced forms (``coalesced``), point to point
(``point_to_point``), objects (``object_collectives``).
"""

from __future__ import annotations

import warnings
from datetime import timedelta

from fake_torch_dist import errors
from fake_torch_dist.api.call import call, member_group, root_of, rows_of
from fake_torch_dist.core.checks import as_duration, check_timeout
from fake_torch_dist.core.process_group import ProcessGroup
from fake_torch_dist.core.reduce_op import ReduceOp
from fake_torch_dist.core.work import Tensor, Work, rows_of_list


def all_reduce(
    tensor: Tensor, op: ReduceOp = ReduceOp.SUM, group: ProcessGroup | None = None, async_op: bool = False
) -> Work | None:
    """Reduce ``tensor`` over the group, in place. Every rank ends with the same bits.

    Ranks are folded in rank order, so a float sum does not depend on which rank was late.
    """
    found = member_group("all_reduce", group)
    if found is None:
        return None
    rows = rows_of(found, tensor, written=True)
    return call(found, found.allreduce_rows(rows, op), [tensor], async_op)


def broadcast(
    tensor: Tensor,
    src: int | None = None,
    group: ProcessGroup | None = None,
    async_op: bool = False,
    group_src: int | None = None,
) -> Work | None:
    """Give every member the shard of global rank ``src`` (or of group rank ``group_src``), in place."""
    found = member_group("broadcast", group)
    if found is None:
        return None
    root = root_of("broadcast", found, src, group_src)
    rows = rows_of(found, tensor, written=root not in found.played)
    return call(found, found.broadcast_rows(rows, root), [tensor], async_op)


def reduce(
    tensor: Tensor,
    dst: int | None = None,
    op: ReduceOp = ReduceOp.SUM,
    group: ProcessGroup | None = None,
    async_op: bool = False,
    group_dst: int | None = None,
) -> Work | None:
    """Reduce ``tensor`` into the shard of ``dst``. Other shards stay as they are; torch leaves undefined values in
    them."""
    found = member_group("reduce", group)
    if found is None:
        return None
    root = root_of("reduce", found, dst, group_dst)
    rows = rows_of(found, tensor, written=root in found.played)
    return call(found, found.reduce_rows(rows, root, op), [tensor], async_op)


def all_gather(
    tensor_list: list[Tensor],
    tensor: Tensor,
    group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:
    """Fill ``tensor_list[k]``, on every member, with the shard of group rank k; shapes and dtypes as ``tensor``'s."""
    found = member_group("all_gather", group)
    if found is None:
        return None
    outputs = rows_of_list(found, tensor_list, "tensor_list", written=True)
    return call(found, found.allgather_rows(outputs, rows_of(found, tensor)), tensor_list, async_op)


def all_gather_single(
    output_tensor: Tensor,
    input_tensor: Tensor,
    group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:
    """Fill ``output_tensor`` with all members' shards: per rank (size * n, ...) or (size, n, ...) for (n, ...)."""
    found = member_group("all_gather_single", group)
    if found is None:
        return None
    output = rows_of(found, output_tensor, "output_tensor", written=True)
    rows = rows_of(found, input_tensor, "input_tensor")
    return call(found, found.allgather_single_rows(output, rows), [output_tensor], async_op)


def all_gather_into_tensor(
    output_tensor: Tensor,
    input_tensor: Tensor,
    group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:
    """``all_gather_single`` under its old name; warns as torch 2.13 does."""
    _warn_of_old_name("all_gather_into_tensor", "all_gather_single")
    return all_gather_single(output_tensor, input_tensor, group, async_op)


def reduce_scatter(
    output: Tensor,
    input_list: list[Tensor],
    op: ReduceOp = ReduceOp.SUM,
    group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:
    """Reduce the lists of all members and give group rank k the sum of all ``input_list[k]``; shapes as
    ``output``'s."""
    found = member_group("reduce_scatter", group)
    if found is None:
        return None
    out, inputs = rows_of(found, output, "output", written=True), rows_of_list(found, input_list, "input_list")
    return call(found, found.reduce_scatter_rows(out, inputs, op), [output], async_op)


def reduce_scatter_single(
    output: Tensor,
    input: Tensor,
    op: ReduceOp = ReduceOp.SUM,
    group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:
    """Reduce ``input`` and give group rank k its block k: per rank (size * n, ...) or (size, n, ...) to (n, ...)."""
    found = member_group("reduce_scatter_single", group)
    if found is None:
        return None
    out, rows = rows_of(found, output, "output", written=True), rows_of(found, input, "input")
    return call(found, found.reduce_scatter_single_rows(out, rows, op), [output], async_op)


def reduce_scatter_tensor(
    output: Tensor,
    input: Tensor,
    op: ReduceOp = ReduceOp.SUM,
    group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:
    """``reduce_scatter_single`` under its old name; warns as torch 2.13 does."""
    _warn_of_old_name("reduce_scatter_tensor", "reduce_scatter_single")
    return reduce_scatter_single(output, input, op, group, async_op)


def gather(
    tensor: Tensor,
    gather_list: list[Tensor] | None = None,
    dst: int | None = None,
    group: ProcessGroup | None = None,
    async_op: bool = False,
    group_dst: int | None = None,
) -> Work | None:
    """Fill ``dst``'s shard of ``gather_list[k]`` with the shard of group rank k. Without a root it is global rank 0.

    A process that plays the destination must bring the list, another must not.
    """
    found = member_group("gather", group)
    if found is None:
        return None
    root = root_of("gather", found, dst, group_dst, default=0)
    outputs = [] if gather_list is None else rows_of_list(found, gather_list, "gather_list", written=True)
    if root in found.played and not outputs:
        raise ValueError(errors.GATHER_LIST_MISSING)
    if root not in found.played and outputs:
        raise ValueError(errors.GATHER_LIST_UNWANTED)
    return call(found, found.gather_rows(outputs, rows_of(found, tensor), root), list(gather_list or []), async_op)


def scatter(
    tensor: Tensor,
    scatter_list: list[Tensor] | None = None,
    src: int | None = None,
    group: ProcessGroup | None = None,
    async_op: bool = False,
    group_src: int | None = None,
) -> Work | None:
    """Give group rank k ``src``'s shard of ``scatter_list[k]``. Without a root it is global rank 0.

    A process that plays the source must bring the list, another must not.
    """
    found = member_group("scatter", group)
    if found is None:
        return None
    root = root_of("scatter", found, src, group_src, default=0)
    inputs = [] if scatter_list is None else rows_of_list(found, scatter_list, "scatter_list")
    if root in found.played and not inputs:
        raise ValueError(errors.SCATTER_LIST_MISSING)
    if root not in found.played and inputs:
        raise ValueError(errors.SCATTER_LIST_UNWANTED)
    return call(found, found.scatter_rows(rows_of(found, tensor, written=True), inputs, root), [tensor], async_op)


def barrier(
    group: ProcessGroup | None = None,
    async_op: bool = False,
    device_ids: list[int] | None = None,
    timeout: timedelta | float | None = None,
) -> Work | None:
    """Wait for every member. ``device_ids`` is where NCCL runs the barrier; it does not change the waiting.

    A ``timeout`` that is a float is seconds.
    """
    found = member_group("barrier", group)
    if device_ids is not None and not isinstance(device_ids, list):
        raise TypeError("Invalid function argument: device_ids type should be List[int]")
    limit = None if timeout is None else as_duration(timeout)
    return None if found is None else call(found, found.barrier_round(), [], async_op, limit)


def monitored_barrier(
    group: ProcessGroup | None = None, timeout: timedelta | float | None = None, wait_all_ranks: bool = False
) -> None:
    """A barrier with names: group rank 0 names the first absent rank, or with ``wait_all_ranks`` all of them.

    A ``timeout`` that is a float is seconds, with torch's warning.
    Errors: RuntimeError, torch's text, on rank 0 and on the others that came; ValueError for backends nccl and fake.
    """
    found = member_group("monitored_barrier", group)
    if isinstance(timeout, float):
        warnings.warn(errors.FLOAT_TIMEOUT.format(timeout=timeout), stacklevel=2)
        timeout = as_duration(timeout)
    check_timeout(timeout)
    if found is None:
        return
    found.monitored_barrier(timeout, wait_all_ranks)


def _warn_of_old_name(old: str, new: str) -> None:
    warnings.warn(errors.DEPRECATED_NAME.format(old=old, new=new), FutureWarning, stacklevel=3)
