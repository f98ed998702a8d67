"""Collectives of several tensors at once, as one ``Work``. All inputs are read before an output is written.

So the same array may be several of the tensors. Dtypes may differ, which torch refuses.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from fake_torch_dist.core.reduction import Array, ReduceOp
from fake_torch_dist.core.row_collectives import RowCollectives
from fake_torch_dist.core.work import Tensor, Work, begin, rows_of_list


def begin_reducing_each(
    group: RowCollectives, tensors: Sequence[Tensor], op: ReduceOp, timeout: timedelta | None = None
) -> Work:
    """Begin to reduce each tensor over the group, in place. RuntimeError without a tensor."""
    rows = rows_of_list(group, tensors, "tensors", written=True)
    _check_not_empty("tensors", rows)
    return begin(group, _reduce_each(group, rows, op), list(tensors), timeout)


def begin_gathering_each(
    group: RowCollectives,
    outputs: Sequence[Sequence[Tensor]],
    inputs: Sequence[Tensor],
    timeout: timedelta | None = None,
) -> Work:
    """Begin to fill ``outputs[k][i]`` with group rank k's ``inputs[i]``. RuntimeError for lists of other lengths."""
    rows = rows_of_list(group, inputs, "input_tensor_list")
    _check_not_empty("input_tensor_list", rows)
    into = [rows_of_list(group, each, "output_tensor_lists", written=True) for each in outputs]
    if len(into) != group.size() or any(len(each) != len(rows) for each in into):
        raise RuntimeError(
            f"allgather_coalesced: output_tensor_lists has {[len(each) for each in into]} tensors for "
            f"{group.size()} ranks with {len(rows)} each"
        )
    flat: list[Any] = [tensor for each in outputs for tensor in each]
    return begin(group, _gather_each(group, into, rows), flat, timeout)


def _check_not_empty(name: str, inputs: Sequence[Array]) -> None:
    if not inputs:
        raise RuntimeError(f"{name} is empty; a coalesced collective needs at least one tensor")


async def _reduce_each(group: RowCollectives, rows: Sequence[Array], op: ReduceOp) -> None:
    reduced = [each.copy() for each in rows]
    for each in reduced:
        await group.allreduce_rows(each, op)
    for row, each in zip(rows, reduced, strict=True):
        row[...] = each


async def _gather_each(group: RowCollectives, outputs: Sequence[Sequence[Array]], inputs: Sequence[Array]) -> None:
    for index, each in enumerate([each.copy() for each in inputs]):
        await group.allgather_rows([of_rank[index] for of_rank in outputs], each)
