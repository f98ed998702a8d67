"""All public names. ``fake_torch_dist`` imports this module when the first of them is used.

So the launcher, which uses none, does not wait for numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from fake_torch_dist.api.alltoall import all_to_all, all_to_all_single
from fake_torch_dist.api.backends import (
    Backend,
    BackendConfig,
    GroupName,
    RankType,
    get_backend,
    get_backend_config,
    get_default_backend_for_device,
    get_node_local_rank,
    is_backend_available,
    is_gloo_available,
    is_mpi_available,
    is_nccl_available,
    is_torchelastic_launched,
    is_ucc_available,
    is_xccl_available,
    supports_complex,
)
from fake_torch_dist.api.coalesced import all_gather_coalesced, all_reduce_coalesced
from fake_torch_dist.api.collectives import (
    all_gather,
    all_gather_into_tensor,
    all_gather_single,
    all_reduce,
    barrier,
    broadcast,
    gather,
    monitored_barrier,
    reduce,
    reduce_scatter,
    reduce_scatter_single,
    reduce_scatter_tensor,
    scatter,
)
from fake_torch_dist.api.debug_levels import DebugLevel, get_debug_level, set_debug_level, set_debug_level_from_env
from fake_torch_dist.api.group_arguments import VirtualOptions
from fake_torch_dist.api.groups import new_group, new_subgroups, new_subgroups_by_enumeration, shrink_group, split_group
from fake_torch_dist.api.object_collectives import (
    all_gather_object,
    broadcast_object_list,
    gather_object,
    recv_object_list,
    scatter_object_list,
    send_object_list,
)
from fake_torch_dist.api.old_names import _all_gather_base as _all_gather_base  # private in torch, too, but widely used
from fake_torch_dist.api.old_names import _reduce_scatter_base as _reduce_scatter_base
from fake_torch_dist.api.old_names import reduce_op
from fake_torch_dist.api.point_to_point import P2POp, batch_isend_irecv, irecv, isend, recv, send
from fake_torch_dist.api.registry import (
    GroupMember,
    get_global_rank,
    get_group_rank,
    get_pg_count,
    get_process_group_ranks,
    get_rank,
    get_world_size,
    group,
    is_available,
    is_initialized,
)
from fake_torch_dist.api.world import default_pg_timeout, destroy_process_group, init_process_group
from fake_torch_dist.core.collective_options import (
    AllreduceCoalescedOptions,
    AllreduceOptions,
    AllToAllOptions,
    BarrierOptions,
    BroadcastOptions,
    GatherOptions,
    ReduceOptions,
    ReduceScatterOptions,
    ScatterOptions,
)
from fake_torch_dist.core.future import Future
from fake_torch_dist.core.local_tensor import LocalTensor, shards_of
from fake_torch_dist.core.process_group import ProcessGroup
from fake_torch_dist.core.reduce_op import ReduceOp
from fake_torch_dist.core.reduce_op import _make_nccl_premul_sum as _make_nccl_premul_sum
from fake_torch_dist.core.reduction import fold, fold_world
from fake_torch_dist.core.work import Work
from fake_torch_dist.device_mesh import DeviceMesh, init_device_mesh
from fake_torch_dist.errors import DistBackendError, DistError, DistNetworkError, DistStoreError

__all__ = [
    "AllToAllOptions",
    "AllreduceCoalescedOptions",
    "AllreduceOptions",
    "Backend",
    "BackendConfig",
    "BarrierOptions",
    "BroadcastOptions",
    "DebugLevel",
    "DeviceMesh",
    "DistBackendError",
    "DistError",
    "DistNetworkError",
    "DistStoreError",
    "FileStore",
    "Future",
    "GatherOptions",
    "GroupMember",
    "GroupName",
    "HashStore",
    "LocalTensor",
    "P2POp",
    "PrefixStore",
    "ProcessGroup",
    "QueueEmptyError",
    "RankType",
    "ReduceOp",
    "ReduceOptions",
    "ReduceScatterOptions",
    "ScatterOptions",
    "Store",
    "TCPStore",
    "VirtualOptions",
    "Work",
    "all_gather",
    "all_gather_coalesced",
    "all_gather_into_tensor",
    "all_gather_object",
    "all_gather_single",
    "all_reduce",
    "all_reduce_coalesced",
    "all_to_all",
    "all_to_all_single",
    "barrier",
    "batch_isend_irecv",
    "breakpoint",
    "broadcast",
    "broadcast_object_list",
    "default_pg_timeout",
    "destroy_process_group",
    "fold",
    "fold_world",
    "gather",
    "gather_object",
    "get_backend",
    "get_backend_config",
    "get_debug_level",
    "get_default_backend_for_device",
    "get_global_rank",
    "get_group_rank",
    "get_node_local_rank",
    "get_pg_count",
    "get_process_group_ranks",
    "get_rank",
    "get_world_size",
    "group",
    "init_device_mesh",
    "init_process_group",
    "irecv",
    "is_available",
    "is_backend_available",
    "is_gloo_available",
    "is_initialized",
    "is_mpi_available",
    "is_nccl_available",
    "is_torchelastic_launched",
    "is_ucc_available",
    "is_xccl_available",
    "isend",
    "monitored_barrier",
    "new_group",
    "new_subgroups",
    "new_subgroups_by_enumeration",
    "recv",
    "recv_object_list",
    "reduce",
    "reduce_op",
    "reduce_scatter",
    "reduce_scatter_single",
    "reduce_scatter_tensor",
    "register_rendezvous_handler",
    "rendezvous",
    "scatter",
    "scatter_object_list",
    "send",
    "send_object_list",
    "set_debug_level",
    "set_debug_level_from_env",
    "shards_of",
    "shrink_group",
    "split_group",
    "supports_complex",
]

_LATER: Final = {
    "FileStore": "stores",
    "HashStore": "stores",
    "PrefixStore": "stores",
    "QueueEmptyError": "stores",
    "Store": "stores",
    "TCPStore": "stores",
    "breakpoint": "api.breakpoints",
    "register_rendezvous_handler": "meeting.handlers",
    "rendezvous": "meeting.handlers",
}
"""Names whose modules need sockets or a debugger and are imported on first use: the virtual world runs on systems
without them."""

PRIVATE: Final = ("_all_gather_base", "_make_nccl_premul_sum", "_reduce_scatter_base")
"""Private names that the package has as torch's package has them."""

if TYPE_CHECKING:
    from fake_torch_dist.api.breakpoints import breakpoint
    from fake_torch_dist.meeting.handlers import register_rendezvous_handler, rendezvous
    from fake_torch_dist.stores import FileStore, HashStore, PrefixStore, QueueEmptyError, Store, TCPStore
else:  # a type checker that saw this would let every name pass

    def __getattr__(name: str) -> Any:
        if name in _LATER:
            found = getattr(importlib.import_module(f".{_LATER[name]}", __package__), name)
            globals()[name] = found
            return found
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
