"""torch.distributed's surface over numpy arrays, without torch.

There for now: the *virtual world*, where this process plays every rank and a tensor is a ``LocalTensor``, one ndarray
with a leading axis of ranks::

    import numpy as np
    import fake_torch_dist as dist

    dist.init_process_group("virtual", world_size=4)
    x = dist.LocalTensor.from_ranks(np.arange(4.0))
    dist.all_reduce(x)
    x.item()  # 6.0 on every rank

Ours and not torch's: ``LocalTensor``, ``shards_of``, ``fold``, ``fold_world``, ``VirtualOptions``, ``Future``.
A name of torch's that is missing here raises an AttributeError that says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .collectives import (
    all_gather,
    all_gather_into_tensor,
    all_gather_object,
    all_gather_single,
    all_reduce,
    barrier,
    broadcast,
    broadcast_object_list,
    gather,
    reduce,
    reduce_scatter_single,
    reduce_scatter_tensor,
    scatter,
)
from .errors import DistBackendError, DistError, DistNetworkError, DistStoreError
from .group_arguments import VirtualOptions
from .local_tensor import LocalTensor, shards_of
from .process_group import ProcessGroup
from .reduction import ReduceOp, fold, fold_world
from .reduction import _make_nccl_premul_sum as _make_nccl_premul_sum  # torch hides it under this name too
from .torch_names import TORCH_NAMES, TORCH_VERSION
from .work import Future, Work
from .world import (
    GroupMember,
    default_pg_timeout,
    destroy_process_group,
    get_backend,
    get_global_rank,
    get_group_rank,
    get_process_group_ranks,
    get_rank,
    get_world_size,
    group,
    init_process_group,
    is_available,
    is_initialized,
    new_group,
)

__all__ = [
    "DistBackendError",
    "DistError",
    "DistNetworkError",
    "DistStoreError",
    "Future",
    "GroupMember",
    "LocalTensor",
    "ProcessGroup",
    "ReduceOp",
    "VirtualOptions",
    "Work",
    "all_gather",
    "all_gather_into_tensor",
    "all_gather_object",
    "all_gather_single",
    "all_reduce",
    "barrier",
    "broadcast",
    "broadcast_object_list",
    "default_pg_timeout",
    "destroy_process_group",
    "fold",
    "fold_world",
    "gather",
    "get_backend",
    "get_global_rank",
    "get_group_rank",
    "get_process_group_ranks",
    "get_rank",
    "get_world_size",
    "group",
    "init_process_group",
    "is_available",
    "is_initialized",
    "new_group",
    "reduce",
    "reduce_scatter_single",
    "reduce_scatter_tensor",
    "scatter",
    "shards_of",
]


if not TYPE_CHECKING:  # a type checker that saw this would let every name pass

    def __getattr__(name: str) -> Any:
        if name in TORCH_NAMES:
            raise AttributeError(
                f"fake_torch_dist has no {name!r} yet; torch.distributed {TORCH_VERSION} does. "
                "What is there: fake_torch_dist.__all__"
            )
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
