"""torch's collectives: check the arguments, find the group, call it, return ``Work`` if one is asked for.

Names, parameters, defaults and in-place effects are torch's. In the virtual world tensors are ``LocalTensor``: a call
is made once for all ranks, a list of tensors is one list for all ranks, and only the members' shards change.
With ``async_op=True`` the work is already done when the call returns.

Errors in all of them: ValueError before ``init_process_group`` and for a group that has ended, TypeError for what is no
``LocalTensor``, ValueError or RuntimeError (torch's class) for roots, lists, shapes and dtypes that don't fit.
What this module does not do yet: all_to_all, the coalesced forms, point to point.
"""

from __future__ import annotations

import warnings
from datetime import timedelta
from typing import Any

from . import errors
from .group_arguments import check_timeout
from .local_tensor import LocalTensor, shards_of
from .object_copy import PickledObject
from .process_group import ProcessGroup
from .reduction import Array, ReduceOp
from .work import Work
from .world import find_group, get_group_rank


def all_reduce(
    tensor: LocalTensor, op: ReduceOp = ReduceOp.SUM, group: ProcessGroup | None = None, async_op: bool = False
) -> Work | None:
    """Reduce ``tensor`` over the group, in place. Every rank ends with the same bits.

    Ranks are folded in rank order, so a float sum does not depend on which rank was late.
    """
    find_group(group).allreduce(shards_of(tensor), op)
    return Work([tensor]) if async_op else None


def broadcast(
    tensor: LocalTensor,
    src: int | None = None,
    group: ProcessGroup | None = None,
    async_op: bool = False,
    group_src: int | None = None,
) -> Work | None:
    """Give every member the shard of global rank ``src`` (or of group rank ``group_src``), in place."""
    found = find_group(group)
    found.broadcast(shards_of(tensor), _root("broadcast", found, src, group_src))
    return Work([tensor]) if async_op else None


def reduce(
    tensor: LocalTensor,
    dst: int | None = None,
    op: ReduceOp = ReduceOp.SUM,
    group: ProcessGroup | None = None,
    async_op: bool = False,
    group_dst: int | None = None,
) -> Work | None:
    """Reduce ``tensor`` into the shard of ``dst``. Other shards stay as they are; torch leaves rubbish in them."""
    found = find_group(group)
    found.reduce(shards_of(tensor), _root("reduce", found, dst, group_dst), op)
    return Work([tensor]) if async_op else None


def all_gather(
    tensor_list: list[LocalTensor],
    tensor: LocalTensor,
    group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:
    """Fill ``tensor_list[k]``, on every member, with the shard of group rank k; shapes and dtypes as ``tensor``'s."""
    found = find_group(group)
    found.allgather(_shards_of_list(tensor_list, "tensor_list"), shards_of(tensor))
    return Work(tensor_list) if async_op else None


def all_gather_single(
    output_tensor: LocalTensor,
    input_tensor: LocalTensor,
    group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:
    """Fill ``output_tensor`` with all members' shards: per rank (size * n, ...) or (size, n, ...) for (n, ...)."""
    found = find_group(group)
    found.allgather_single(shards_of(output_tensor, "output_tensor"), shards_of(input_tensor, "input_tensor"))
    return Work([output_tensor]) if async_op else None


def all_gather_into_tensor(
    output_tensor: LocalTensor,
    input_tensor: LocalTensor,
    group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:
    """``all_gather_single`` under its old name; warns as torch 2.13 does."""
    _warn_of_old_name("all_gather_into_tensor", "all_gather_single")
    return all_gather_single(output_tensor, input_tensor, group, async_op)


def reduce_scatter_single(
    output: LocalTensor,
    input: LocalTensor,
    op: ReduceOp = ReduceOp.SUM,
    group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:
    """Reduce ``input`` and give group rank k its block k: per rank (size * n, ...) or (size, n, ...) to (n, ...)."""
    found = find_group(group)
    found.reduce_scatter_single(shards_of(output, "output"), shards_of(input, "input"), op)
    return Work([output]) if async_op else None


def reduce_scatter_tensor(
    output: LocalTensor,
    input: LocalTensor,
    op: ReduceOp = ReduceOp.SUM,
    group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:
    """``reduce_scatter_single`` under its old name; warns as torch 2.13 does."""
    _warn_of_old_name("reduce_scatter_tensor", "reduce_scatter_single")
    return reduce_scatter_single(output, input, op, group, async_op)


def gather(
    tensor: LocalTensor,
    gather_list: list[LocalTensor] | None = None,
    dst: int | None = None,
    group: ProcessGroup | None = None,
    async_op: bool = False,
    group_dst: int | None = None,
) -> Work | None:
    """Fill ``dst``'s shard of ``gather_list[k]`` with the shard of group rank k. Without a root it is global rank 0.

    This process plays the destination, so it must bring the list.
    """
    found = find_group(group)
    root = _root("gather", found, dst, group_dst, default=0)
    if not gather_list:
        raise ValueError(errors.GATHER_LIST_MISSING)
    found.gather(_shards_of_list(gather_list, "gather_list"), shards_of(tensor), root)
    return Work(gather_list) if async_op else None


def scatter(
    tensor: LocalTensor,
    scatter_list: list[LocalTensor] | None = None,
    src: int | None = None,
    group: ProcessGroup | None = None,
    async_op: bool = False,
    group_src: int | None = None,
) -> Work | None:
    """Give group rank k ``src``'s shard of ``scatter_list[k]``. Without a root it is global rank 0.

    This process plays the source, so it must bring the list.
    """
    found = find_group(group)
    root = _root("scatter", found, src, group_src, default=0)
    if not scatter_list:
        raise ValueError(errors.SCATTER_LIST_MISSING)
    found.scatter(shards_of(tensor), _shards_of_list(scatter_list, "scatter_list"), root)
    return Work([tensor]) if async_op else None


def barrier(
    group: ProcessGroup | None = None,
    async_op: bool = False,
    device_ids: list[int] | None = None,
    timeout: timedelta | None = None,
) -> Work | None:
    """Wait for every member. ``device_ids`` tells NCCL where to run the barrier and changes nothing about waiting."""
    if device_ids is not None and not isinstance(device_ids, list):
        raise TypeError("Invalid function argument: device_ids type should be List[int]")
    check_timeout(timeout)
    find_group(group).barrier()
    return Work([]) if async_op else None


def all_gather_object(object_list: list[Any], obj: Any, group: ProcessGroup | None = None) -> None:
    """Fill ``object_list[k]`` with a copy of group rank k's ``obj``.

    A ``LocalTensor`` in ``obj`` is what differs between ranks: entry k has rank k's shard of it. Errors: IndexError if
    the list is too short; whatever pickle raises.
    """
    found = find_group(group)
    if len(object_list) < found.size():
        raise IndexError(f"object_list has {len(object_list)} entries for {found.size()} ranks")
    pickled = PickledObject(obj)
    object_list[: found.size()] = [pickled.of_rank(rank) for rank in found.ranks]


def broadcast_object_list(
    object_list: list[Any],
    src: int | None = None,
    group: ProcessGroup | None = None,
    device: Any | None = None,
    group_src: int | None = None,
) -> None:
    """Replace the entries of ``object_list`` by copies of ``src``'s; tensors as in ``all_gather_object``.

    One list stands for all ranks', so the world is the only group: ValueError for a smaller one, whose members would
    end with other objects than the rest. Without a root it is global rank 0. ``device`` must be None.
    """
    found = find_group(group)
    root = _root("broadcast_object_list", found, src, group_src, default=0)
    if device is not None:
        raise ValueError(errors.NO_DEVICES.format(name="device", device=device))
    if found.size() != found.num_local:
        raise ValueError("broadcast_object_list in a group smaller than the world: one list cannot hold both outcomes")
    object_list[:] = PickledObject(object_list).of_rank(found.ranks[root])


def _root(
    what: str, group: ProcessGroup, global_rank: int | None, group_rank: int | None, default: int | None = None
) -> int:
    """The root as a group rank, of the two ways that torch has to name it."""
    if global_rank is not None and group_rank is not None:
        raise ValueError(errors.TWO_ROOTS)
    if group_rank is None:
        global_rank = default if global_rank is None else global_rank
        if global_rank is None:
            raise ValueError(errors.NO_ROOT)
        group_rank = get_group_rank(group, global_rank)
    if not 0 <= group_rank < group.size():
        raise RuntimeError(f"{what}: invalid root rank: {group_rank}; the group has {group.size()} ranks")
    return group_rank


def _shards_of_list(tensors: object, name: str) -> list[Array]:
    if not isinstance(tensors, list | tuple):
        raise TypeError(errors.INVALID_ARGUMENT.format(name=name, wanted="List[LocalTensor]"))
    return [shards_of(tensor, name) for tensor in tensors]


def _warn_of_old_name(old: str, new: str) -> None:
    warnings.warn(errors.DEPRECATED_NAME.format(old=old, new=new), FutureWarning, stacklevel=3)
