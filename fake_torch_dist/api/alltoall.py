"""torch's all_to_all: every member sends a part of its own to every member. Rules and errors as in ``collectives``."""

from __future__ import annotations

from collections.abc import Sequence

from fake_torch_dist.api.call import call, member_group, rows_of
from fake_torch_dist.core.process_group import ProcessGroup
from fake_torch_dist.core.work import Tensor, Work, rows_of_list


def all_to_all(
    output_tensor_list: list[Tensor],
    input_tensor_list: list[Tensor],
    group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:
    """Fill ``output_tensor_list[k]`` with what group rank k has at this rank's place of its ``input_tensor_list``.

    Shapes may differ from pair to pair; MismatchError on all ranks if a member expects another size than it is sent.
    """
    found = member_group("all_to_all", group)
    if found is None:
        return None
    outputs = rows_of_list(found, output_tensor_list, "output_tensor_list", written=True)
    inputs = rows_of_list(found, input_tensor_list, "input_tensor_list")
    return call(found, found.alltoall_rows(outputs, inputs), output_tensor_list, async_op)


def all_to_all_single(
    output: Tensor,
    input: Tensor,
    output_split_sizes: Sequence[int] | None = None,
    input_split_sizes: Sequence[int] | None = None,
    group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:
    """``all_to_all`` of blocks of rows of one tensor; the sizes are the rows that go to, or come from, each rank.

    Without sizes the blocks are equal. In the virtual world they must be, as one call gives the sizes of all ranks.
    """
    found = member_group("all_to_all_single", group)
    if found is None:
        return None
    out, rows = rows_of(found, output, "output", written=True), rows_of(found, input, "input")
    return call(found, found.alltoall_single_rows(out, rows, output_split_sizes, input_split_sizes), [output], async_op)
