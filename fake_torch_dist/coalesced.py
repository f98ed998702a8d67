"""torch's coalesced collectives: several tensors in one call. Rules and errors as in collectives.py."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from . import errors
from .calling import Tensor, begin, member_group, rows_of_list
from .process_group import ProcessGroup
from .reduction import Array, ReduceOp
from .work import Work


def all_reduce_coalesced(
    tensors: list[Tensor], op: ReduceOp = ReduceOp.SUM, group: ProcessGroup | None = None, async_op: bool = False
) -> Work | None:
    """``all_reduce`` each of ``tensors``; their number, shapes and dtypes are the same on all ranks."""
    warnings.warn(errors.COALESCED_GOES.format(name="all_reduce_coalesced"), FutureWarning, stacklevel=2)
    found = member_group("all_reduce_coalesced", group)
    if found is None:
        return None
    rows = rows_of_list(found, tensors, "tensors", written=True)
    return begin(found, _reduce_each(found, rows, op), tensors, async_op)


def all_gather_coalesced(
    output_tensor_lists: list[list[Tensor]],
    input_tensor_list: list[Tensor],
    group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:
    """Fill ``output_tensor_lists[k][i]`` with group rank k's ``input_tensor_list[i]``."""
    warnings.warn(errors.COALESCED_GOES.format(name="all_gather_coalesced"), FutureWarning, stacklevel=2)
    found = member_group("all_gather_coalesced", group)
    if found is None:
        return None
    inputs = rows_of_list(found, input_tensor_list, "input_tensor_list")
    if not isinstance(output_tensor_lists, list):
        raise TypeError("Invalid function argument: output_tensor_lists should be a list")
    outputs = [rows_of_list(found, each, "output_tensor_lists", written=True) for each in output_tensor_lists]
    if len(outputs) != found.size() or any(len(each) != len(inputs) for each in outputs):
        raise RuntimeError(
            f"allgather_coalesced: output_tensor_lists has {[len(each) for each in outputs]} tensors for "
            f"{found.size()} ranks with {len(inputs)} each"
        )
    flat = [tensor for each in output_tensor_lists for tensor in each]
    return begin(found, _gather_each(found, outputs, inputs), flat, async_op)


async def _reduce_each(group: ProcessGroup, rows: Sequence[Array], op: ReduceOp) -> None:
    for each in rows:
        await group.allreduce(each, op)


async def _gather_each(group: ProcessGroup, outputs: Sequence[Sequence[Array]], inputs: Sequence[Array]) -> None:
    for index, each in enumerate(inputs):
        await group.allgather([of_rank[index] for of_rank in outputs], each)
