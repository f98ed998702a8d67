"""Exceptions of torch.distributed and the sentences they carry.

The classes and their tree are torch's. Constants marked *torch* are texts that torch 2.13.0 was observed to raise;
``{}`` fields are filled with ``str.format``. The others are ours, for situations that torch does not have.
What this module does not do: decide when to raise.
"""

from __future__ import annotations

from collections.abc import Sequence


class DistError(RuntimeError):
    """A failure of communication between ranks; parent of the three below."""


class DistBackendError(DistError):
    """A collective failed inside the backend."""


class DistNetworkError(DistError):
    """A connection that could not be made, or broke."""


class DistStoreError(DistError):
    """A key-value store failed, or a key never arrived."""


class PeerGoneError(DistBackendError):
    """A needed rank has ended. ``ranks`` are the global ranks that have."""

    def __init__(self, ranks: Sequence[int], why: str = "") -> None:
        self.ranks = tuple(ranks)
        super().__init__(
            f"Connection closed by peer: {ranks_text(ranks)} {'is' if len(ranks) == 1 else 'are'} gone (crashed, "
            f"killed, or ended without waiting for the others). {why}".rstrip()
        )


class TimedOutError(DistBackendError):
    """Ranks did not arrive within the timeout. ``ranks`` are those that this rank has learned to be late."""

    def __init__(self, ranks: Sequence[int], timeout_s: float, what: str = "") -> None:
        self.ranks = tuple(ranks)
        self.timeout_s = timeout_s
        late = f"{ranks_text(ranks)}{what and ' in ' + what}"
        super().__init__(f"Distributed operation: Timed out waiting {timeout_s * 1e3:.0f}ms for {late}")


class MismatchError(DistBackendError):
    """Ranks of a group called different collectives, or the same one with other shapes, dtypes or arguments."""


def ranks_text(ranks: Sequence[int]) -> str:
    """``rank 1`` or ``ranks 1, 2``."""
    return ("rank " if len(ranks) == 1 else "ranks ") + ", ".join(map(str, ranks))


# torch 2.13.0, process groups
NOT_INITIALIZED = (  # ValueError
    "Default process group has not been initialized, please make sure to call init_process_group."
)
INITIALIZED_TWICE = "trying to initialize the default process group twice!"  # ValueError
NO_GROUP_TO_DESTROY = "Process group cannot be None"  # AssertionError
INVALID_GROUP = "Invalid process group specified"  # ValueError
UNKNOWN_GROUP_NAME = (  # ValueError
    "Process group {name} is not initialized in the world group map. Please initialize the group first."
)
GROUP_NOT_REGISTERED = (  # ValueError
    "Group {group} is not registered, please create group with torch.distributed.new_group API"
)
UNKNOWN_BACKEND = "Unknown backend type {name}"  # AssertionError
BACKEND_STRING = (  # ValueError
    "The custom backend string argument is invalid: {backend}. Custom backend string is an experimental feature where "
    'the backend string must be in the format: "<device_type1>:<backend1>,<device_type2>:<backend2>...". e.g. '
    "'cpu:gloo,cuda:nccl'"
)
BACKEND_NOT_A_STRING = "Backend constructor parameter must be string-ish"  # ValueError
TIMEOUT_TYPE = "Expected timeout argument to be of type datetime.timedelta, got {timeout}"  # TypeError
GROUP_TOO_BIG = (  # ValueError
    "the new group's world size should be less or equal to the world size set by init_process_group"
)
RANK_OUT_OF_RANGE = "Rank {rank} is out of range. Valid ranks are 0 to {last} (world_size={size})"  # ValueError
DUPLICATE_RANKS = "ranks list must not contain duplicate entries, got {ranks}"  # ValueError
RANK_NOT_IN_GROUP = "Global rank {rank} is not part of group {group}"  # ValueError

# torch 2.13.0, arguments of collectives
NO_ROOT = "Must specify global_rank or group_rank"  # ValueError
TWO_ROOTS = "Can't specify both group_rank and global_rank"  # ValueError
INVALID_ARGUMENT = "Invalid function argument. Expected parameter `{name}` of type {wanted}"  # TypeError
GATHER_LIST_MISSING = "Argument ``gather_list`` must be specified on destination rank."  # ValueError
SCATTER_LIST_MISSING = "Argument ``scatter_list`` must be specified on source rank."  # ValueError
DEPRECATED_NAME = (  # FutureWarning
    "torch.distributed.{old} is deprecated. Please use torch.distributed.{new} instead."
)

# torch 2.13.0, reductions
COMPLEX_REDUCTION = "all_reduce does not support RedOpType.{op} on complex tensors"  # ValueError
BITWISE_ON_NON_INTEGERS = "Cannot use ReduceOp.{op} with non-integral dtype"  # RuntimeError
FRACTION_OF_INTEGERS = "result type Float can't be cast to the desired output type {dtype}"  # RuntimeError

# Ours
NO_WORLD_SIZE = (  # ValueError
    "the virtual world needs to know how many ranks this process plays: init_process_group('virtual', world_size=N)"
)
NO_RENDEZVOUS = (  # ValueError
    "{what} has no meaning in the virtual world: this process plays every rank, so there is no other to meet"
)
ONE_RANK_A_PROCESS = (
    "--ranks-per-process (FAKE_TORCHRUN_RANKS_PER_PROCESS): a process can play several ranks of train.py, and one of "
    "any other script, whose code runs once for each rank. Leave the option out, or start train.py"
)
NO_DEVICES = "{name}={device!r}: there are no devices in the virtual world; leave it out"  # ValueError
PROCESS_HAS_NO_RANK = (  # ValueError
    "rank={rank} has no meaning in the virtual world: this process plays all ranks; leave rank out"
)
NO_OBJECTS_COME = (  # DistBackendError
    "backend 'fake' sends nothing, so no object comes from group rank {rank}; only collectives of tensors, and of "
    "objects that this rank gives, can be tried with it"
)
NO_SUCH_RANK = "Cannot init process group where rank ({rank}) >= world_size ({size})"  # RuntimeError, torch's words
DRY_RUN_OF_ALL = (  # ValueError
    "backend 'fake' plays one rank, but this process plays all ranks of the virtual world; leave backend out"
)
ONLY_DRY_RUNS = (  # ValueError
    "backend {backend!r} needs the other ranks' processes, but the world is of backend 'fake', which has none"
)
GROUP_ENDED = "the process group was destroyed while this was under way"  # DistBackendError
CALLED_INSIDE = (  # RuntimeError
    "a signal handler or a finalizer called fake_torch_dist while it interrupted the same thread inside of it, with "
    "messages half moved. Set a flag in the handler, and make the call where the program reads the flag"
)
CAME_LATE = "time: {ranks} had given up before this rank came"
WAIT_TIMED_OUT = "Operation timed out!"  # RuntimeError, torch's words
FUTURE_NOT_DONE = "the value of a future that is not done; wait() for it"  # RuntimeError
FUTURE_SET_TWICE = (  # RuntimeError, torch's words
    "Attempting to mark a completed Future as complete again. Note that a Future can only be marked completed once."
)
CALLBACK_FAILED = "Got the following error when running the callback: {kind}: {failure}"  # RuntimeError, torch's words
FLOAT_TIMEOUT = (  # UserWarning, torch's words
    "Please specify timeout arg as a timedelta. Converting current value of {timeout} assuming it represents seconds"
)
NO_SOURCE_RANK = "source_rank() may only be called on a receive that is done"  # RuntimeError
NOT_A_MEMBER = "Running {what} on global rank {rank} which does not belong to the given group."  # UserWarning
NO_LOCAL_TENSORS = (  # TypeError
    ", got a LocalTensor. This process plays one rank, so a tensor is an ndarray; a LocalTensor holds all ranks' "
    "shards in the virtual world: init_process_group('virtual', world_size=N)"
)
GATHER_LIST_UNWANTED = (  # ValueError, torch's
    "Argument ``gather_list`` must NOT be specified on non-destination ranks."
)
SCATTER_LIST_UNWANTED = (  # ValueError, torch's
    "Argument ``scatter_list`` must NOT be specified on non-source ranks."
)
ONLY_GLOO_MONITORS = "monitored_barrier is only implemented for GLOO backend."  # ValueError, torch's
BARRIER_FAILED = "[Rank 0]: {absent} failed to pass monitoredBarrier in {timeout_ms} ms"  # RuntimeError, torch's
BARRIER_OUT_OF_TIME = "[Rank 0]: Rank 0 timed out in monitoredBarrier after {timeout_ms} ms."  # RuntimeError, torch's
BARRIER_PASSED = (  # RuntimeError, torch's
    "Rank {rank} successfully reached monitoredBarrier, but received errors while waiting for send/recv from rank "
    "{leader}. Please check rank {leader} logs for faulty rank."
)
BACKEND_NOT_BUILT = "Distributed package doesn't have {name} built in"  # RuntimeError, torch's
NO_LOCAL_RANK = (  # RuntimeError, torch's
    "LOCAL_RANK is not in the environment. Consider passing fallback_rank to allow `get_node_local_rank` to work, "
    "assuming you are not running in a multi-device context and want the code to run locally instead."
)
NO_GROUP_SIZE = (  # ValueError, torch's
    "Default group size only takes effect when CUDA is available. If your subgroup using a backend that does not "
    "depend on CUDA, please pass in 'group_size' correctly."
)
SHARED_RANKS = "the split group cannot have duplicate ranks, got {ranks}"  # ValueError
NO_SCATTER_OUTPUT = (  # ValueError, torch's
    "Expected argument scatter_object_output_list to be a list of size at least 1."
)
NOT_AN_OPERATION = (  # ValueError, torch's
    "Invalid ``op``. Expected ``op`` to be of type ``torch.distributed.isend`` or ``torch.distributed.irecv``."
)
NOT_OPERATIONS = (  # ValueError, torch's
    "Invalid ``p2p_op_list``. Each op is expected to to be of type ``torch.distributed.P2POp``."
)
PEER_IS_SELF = (  # ValueError, torch's for destinations
    "Invalid {what} rank: {what} rank should not be the same as the rank of the current process."
)
NO_MESSAGES_TO_ONESELF = (  # NotImplementedError
    "point to point has no meaning in the virtual world: this process plays the sender and the receiver; collectives "
    "do, and so do processes that play one rank each (fake-torchrun)"
)
REDUCE_OP_IS_OLD = (  # FutureWarning, torch's
    "`torch.distributed.reduce_op` is deprecated, please use `torch.distributed.ReduceOp` instead"
)
NO_OTHER_BACKENDS = (  # NotImplementedError
    "register_backend({name!r}): this package moves arrays with transports of its own, which a backend written for "
    "torch cannot be; its backends are gloo, nccl, fake and virtual"
)
COALESCED_GOES = (  # FutureWarning, torch's
    "`torch.distributed.{name}` will be deprecated. If you must use it, please revisit our documentation later at "
    "https://pytorch.org/docs/main/distributed.html#collective-functions"
)
MESH_TOO_BIG = "Mesh should not be bigger than default world size {size}, but found {found} ranks!"  # torch's
MESH_DIM_NEEDED = (  # RuntimeError, torch's
    "Found the DeviceMesh have {ndim} dimensions. Optional kwarg `mesh_dim` needs to be specified when "
    "device_mesh.ndim > 1. If you want to get the list of all the ProcessGroups in the DeviceMesh, please use "
    "`get_all_groups()` instead."
)
MESH_NO_SUCH_DIM = (  # KeyError, torch's
    "Mesh dimension '{name}' does not exist. Available mesh dimensions are: mesh_dim_names={names}"
)
MESH_ORDER = "Invalid mesh_dim_names {names} specified. Mesh dim indices should be in ascending order."  # KeyError
MESH_FLAT_TWICE = (  # ValueError, torch's
    "Flatten mesh with mesh_dim_name {name} has been created before, Please specify another valid mesh_dim_name."
)
MESH_OVERRIDES = (  # ValueError, torch's
    "backend_override should have the same length as the number of mesh dimensions, but got {found} and {ndim}."
)
MESH_WITHOUT_ME = (  # RuntimeError, torch's
    "In order to get the mesh Tensor of a DeviceMesh it needs to either have all its original dimensions (e.g., no "
    "slicing) or it needs to contain the local rank"
)
