"""Exceptions of torch.distributed and the sentences they carry.

The classes and their tree are torch's. Constants marked *torch* are what torch 2.13.0 was observed to say; ``{}``
fields are filled with ``str.format``. The others are ours, for situations that torch does not have.
What this module does not do: decide when to raise.
"""

from __future__ import annotations


class DistError(RuntimeError):
    """Something went wrong between the ranks; parent of the three below."""


class DistBackendError(DistError):
    """A collective failed inside the backend."""


class DistNetworkError(DistError):
    """A connection could not be made, or broke."""


class DistStoreError(DistError):
    """A key-value store failed, or a key never arrived."""


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
BACKEND_NOT_THERE = (  # NotImplementedError
    "backend {name!r} needs one process per rank, and fake_torch_dist has no transport between processes yet. "
    "There is 'virtual' (alias 'fake'): one process plays all ranks, init_process_group('virtual', world_size=N)."
)
NO_WORLD_SIZE = (  # ValueError
    "the virtual world needs to know how many ranks this process plays: init_process_group('virtual', world_size=N)"
)
NO_RENDEZVOUS = (  # ValueError
    "{what} has no meaning in the virtual world: every rank lives in this process, so there is nobody to meet"
)
NO_DEVICES = "{name}={device!r}: there are no devices in the virtual world; leave it out"  # ValueError
PROCESS_HAS_NO_RANK = (  # ValueError
    "rank={rank} has no meaning in the virtual world: this process plays all ranks; leave rank out"
)
