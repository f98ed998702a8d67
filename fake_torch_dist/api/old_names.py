"""Names that torch keeps for old scripts: ``reduce_op`` and the forms of gather and reduce-scatter whose names end in
"_base"."""

from __future__ import annotations

import warnings
from typing import Any, Final

from fake_torch_dist import errors
from fake_torch_dist.api.collectives import all_gather_single, reduce_scatter_single
from fake_torch_dist.core.process_group import ProcessGroup
from fake_torch_dist.core.reduce_op import ReduceOp
from fake_torch_dist.core.work import Tensor, Work


class _ReduceOps:
    """``reduce_op``: the constants of ``ReduceOp``, with torch's warning."""

    def __getattr__(self, name: str) -> Any:
        constants = ReduceOp.RedOpType.__members__
        if name == "__members__" or name in constants:
            warnings.warn(errors.REDUCE_OP_IS_OLD, FutureWarning, stacklevel=2)
            return constants if name == "__members__" else constants[name]
        raise AttributeError(f"reduce_op has no {name!r}; it has {', '.join(constants)}")


reduce_op: Final = _ReduceOps()


def _all_gather_base(
    output_tensor: Tensor, input_tensor: Tensor, group: ProcessGroup | None = None, async_op: bool = False
) -> Work | None:
    """``all_gather_single``."""
    return all_gather_single(output_tensor, input_tensor, group, async_op)


def _reduce_scatter_base(
    output: Tensor,
    input: Tensor,
    op: ReduceOp = ReduceOp.SUM,
    group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:
    """``reduce_scatter_single``."""
    return reduce_scatter_single(output, input, op, group, async_op)
