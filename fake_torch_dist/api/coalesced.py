"""torch's coalesced collectives: several tensors in one call. Rules and errors as in collectives.py.

All inputs are read before an output is written, so the same array may be several of them. With ``async_op`` they return
a ``Future`` whose value is the list of tensors, as torch's do.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from datetime import timedelta

from fake_torch_dist import errors
from fake_torch_dist.api.call import Tensor, begin, member_group, rows_of_list
from fake_torch_dist.api.work import Future, Work
from fake_torch_dist.core.process_group import ProcessGroup
from fake_torch_dist.core.reduction import Array, ReduceOp


def all_reduce_coalesced(
    tensors: list[Tensor], op: ReduceOp = ReduceOp.SUM, group: ProcessGroup | None = None, async_op: bool = False
) -> Future | None:
    """``all_reduce`` each of ``tensors``; their number, shapes and dtypes are the same on all ranks."""
    warnings.warn(errors.COALESCED_GOES.format(name="all_reduce_coalesced"), FutureWarning, stacklevel=2)
    found = member_group("all_reduce_coalesced", group)
    return None if found is None else _future(begin_reducing_each(found, tensors, op), async_op)


def all_gather_coalesced(
    output_tensor_lists: list[list[Tensor]],
    input_tensor_list: list[Tensor],
    group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Future | None:
    """Fill ``output_tensor_lists[k][i]`` with group rank k's ``input_tensor_list[i]``."""
    warnings.warn(errors.COALESCED_GOES.format(name="all_gather_coalesced"), FutureWarning, stacklevel=2)
    found = member_group("all_gather_coalesced", group)
    if found is None:
        return None
    if not isinstance(output_tensor_lists, list):
        raise TypeError("Invalid function argument: output_tensor_lists should be a list")
    return _future(begin_gathering_each(found, output_tensor_lists, input_tensor_list), async_op)


def begin_reducing_each(
    group: ProcessGroup, tensors: list[Tensor], op: ReduceOp, timeout: timedelta | None = None
) -> Work:
    """Begin ``all_reduce_coalesced``."""
    rows = rows_of_list(group, tensors, "tensors", written=True)
    _check_inputs("tensors", rows)
    work = begin(group, _reduce_each(group, rows, op), tensors, timeout=timeout)
    assert work is not None
    return work


def begin_gathering_each(
    group: ProcessGroup, outputs: list[list[Tensor]], inputs: list[Tensor], timeout: timedelta | None = None
) -> Work:
    """Begin ``all_gather_coalesced``."""
    rows = rows_of_list(group, inputs, "input_tensor_list")
    _check_inputs("input_tensor_list", rows)
    into = [rows_of_list(group, each, "output_tensor_lists", written=True) for each in outputs]
    if len(into) != group.size() or any(len(each) != len(rows) for each in into):
        raise RuntimeError(
            f"allgather_coalesced: output_tensor_lists has {[len(each) for each in into]} tensors for "
            f"{group.size()} ranks with {len(rows)} each"
        )
    flat = [tensor for each in outputs for tensor in each]
    work = begin(group, _gather_each(group, into, rows), flat, timeout=timeout)
    assert work is not None
    return work


def _future(work: Work, async_op: bool) -> Future | None:
    if async_op:
        return work.get_future()
    work.wait()
    return None


def _check_inputs(name: str, inputs: Sequence[Array]) -> None:
    """RuntimeError without a tensor. Dtypes may differ, which torch refuses."""
    if not inputs:
        raise RuntimeError(f"{name} is empty; a coalesced collective needs at least one tensor")


async def _reduce_each(group: ProcessGroup, rows: Sequence[Array], op: ReduceOp) -> None:
    reduced = [each.copy() for each in rows]
    for each in reduced:
        await group.allreduce_rows(each, op)
    for row, each in zip(rows, reduced, strict=True):
        row[...] = each


async def _gather_each(group: ProcessGroup, outputs: Sequence[Sequence[Array]], inputs: Sequence[Array]) -> None:
    for index, each in enumerate([each.copy() for each in inputs]):
        await group.allgather_rows([of_rank[index] for of_rank in outputs], each)
