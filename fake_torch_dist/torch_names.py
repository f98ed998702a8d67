"""Names of torch.distributed and of methods of its classes, so that errors can distinguish a missing one from a
misspelt one."""

from __future__ import annotations

from typing import Final

TORCH_VERSION: Final = "2.13"
MASTER_PORT: Final = 29500
"""Port of the static rendezvous where none is given, as torch and Accelerate have it."""

_NAMES = """
AllToAllOptions AllreduceCoalescedOptions AllreduceOptions Backend BackendConfig BarrierOptions BroadcastOptions
BuiltinCommHookType DebugLevel DeviceMesh DistBackendError DistError DistNetworkError DistStoreError FileStore
GatherOptions GradBucket GroupMember GroupName HashStore Logger P2POp PrefixStore ProcessGroup ProcessGroupGloo
QueueEmptyError RankType ReduceOp ReduceOptions ReduceScatterOptions Reducer ScatterOptions Store TCPStore Work
algorithms all_gather all_gather_coalesced all_gather_into_tensor all_gather_object all_gather_single all_reduce
all_reduce_coalesced all_to_all all_to_all_single autograd barrier batch_isend_irecv breakpoint broadcast
broadcast_object_list c10d_logger config constants default_pg_timeout destroy_process_group device_mesh
distributed_c10d gather gather_object get_backend get_backend_config get_debug_level get_default_backend_for_device
get_global_rank get_group_rank get_node_local_rank get_pg_count get_process_group_ranks get_rank get_world_size
group init_device_mesh init_process_group irecv is_available is_backend_available is_gloo_available is_initialized
is_mpi_available is_nccl_available is_torchelastic_launched is_ucc_available is_xccl_available isend log
logging_handlers monitored_barrier new_group new_subgroups new_subgroups_by_enumeration record_comm recv
recv_object_list reduce reduce_op reduce_scatter reduce_scatter_single reduce_scatter_tensor
register_rendezvous_handler remote_device rendezvous rpc scatter scatter_object_list send send_object_list
set_debug_level set_debug_level_from_env shrink_group split_group supports_complex utils
"""

TORCH_NAMES: Final = frozenset(_NAMES.split())
"""Functions, classes, values and submodules; without modules that the package merely imports (sys, typing, ...)."""

_METHODS: Final = {
    "ProcessGroup": """_get_backend _id _start_coalescing _end_coalescing abort all_gather_single_coalesced
        allgather_into_tensor_coalesced boxed merge_remote_group reduce_scatter_single_coalesced
        reduce_scatter_tensor_coalesced shutdown split_group unbox""",
    "Work": "block_current_stream boxed get_future_result unbox",
    "DeviceMesh": "_get_all_submeshes _get_root_mesh_dim _is_current_rank_part_of_mesh",
}
"""Methods that torch's classes have and the classes here do not."""


def no_such_attribute(owner: str, name: str) -> AttributeError:
    """The error for an attribute ``name`` that the class ``owner`` has not, with a note if torch's has it."""
    if name in _METHODS[owner].split():
        return AttributeError(f"fake_torch_dist's {owner} has no {name!r} yet; torch {TORCH_VERSION}'s does")
    return AttributeError(f"{owner!r} object has no attribute {name!r}")
