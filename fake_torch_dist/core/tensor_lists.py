"""Collectives of several tensors at once, as one ``Work``. All inputs are read before an output is written.

So the same array may be several of the tensors. Dtypes may differ, which torch refuses.
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator, Sequence
from datetime import timedelta
from types import coroutine
from typing import Any

from fake_torch_dist.core.reduce_op import ReduceOp
from fake_torch_dist.core.reduction import Array
from fake_torch_dist.core.row_collectives import RowCollectives
from fake_torch_dist.core.task import Task
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
    await _all_of([group.allreduce_rows(each, op) for each in reduced])
    for row, each in zip(rows, reduced, strict=True):
        row[...] = each


async def _gather_each(group: RowCollectives, outputs: Sequence[Sequence[Array]], inputs: Sequence[Array]) -> None:
    copies = [each.copy() for each in inputs]
    await _all_of(
        [group.allgather_rows([of_rank[index] for of_rank in outputs], each) for index, each in enumerate(copies)]
    )


async def _all_of(collectives: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Begin all collectives, so that they take their places in the order of the group at once, and end them in turn."""
    tasks = [Task(each, (), 0.0) for each in collectives]
    try:
        for task in tasks:
            task.step(None)
            if task.error:
                break
        for task in tasks:
            await _the_rest(task)
    finally:
        for each in collectives:
            each.close()


@coroutine
def _the_rest(task: Task) -> Generator[Any, list[Any], None]:
    """Let a collective that has begun go on to its end. Raises its error."""
    while not task.done:
        try:
            payloads = yield task.waiting
        except Exception as error:
            task.step(None, error)
        else:
            task.step(payloads)
    if task.error:
        raise task.error
