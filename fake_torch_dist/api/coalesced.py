"""torch's coalesced collectives: several tensors in one call. Rules and errors as in collectives.py.

All inputs are read before an output is written, so the same array may be several of them. With ``async_op`` they return
a ``Future`` whose value is the list of tensors, as torch's do.
"""

from __future__ import annotations

import warnings

from fake_torch_dist import errors
from fake_torch_dist.api.call import member_group
from fake_torch_dist.core.argument_kinds import is_set
from fake_torch_dist.core.future import Future
from fake_torch_dist.core.process_group import ProcessGroup
from fake_torch_dist.core.reduce_op import ReduceOp
from fake_torch_dist.core.tensor_lists import begin_gathering_each, begin_reducing_each
from fake_torch_dist.core.work import Tensor, Work


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


def _future(work: Work, async_op: bool) -> Future | None:
    if is_set("async_op", async_op):
        return work.get_future()
    work.wait()
    return None
