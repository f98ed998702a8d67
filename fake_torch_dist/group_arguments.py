"""Arguments of ``init_process_group`` and ``new_group``: what they may be, and the errors if they are not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from . import errors

_VIRTUAL: Final = ("virtual", "fake")
_TORCH_BACKENDS: Final = ("gloo", "nccl", "mpi", "ucc", "xccl", "undefined")


@dataclass(frozen=True, kw_only=True, slots=True)
class VirtualOptions:
    """What the virtual world can be told beyond torch's arguments: ``init_process_group(..., pg_options=...)``."""

    ranks_per_node: int | None = None
    """Ranks on one node, as ``--nproc-per-node``; decides the order in which floats are added. None: all on one."""

    def __post_init__(self) -> None:
        if self.ranks_per_node is not None and self.ranks_per_node < 1:
            raise ValueError(f"ranks_per_node = {self.ranks_per_node}; a node has at least one rank")


def check_backend(backend: str | None) -> str:
    """The backend's name in small letters if it plays all ranks in one process; else raise."""
    if backend is not None and not isinstance(backend, str):
        raise ValueError(errors.BACKEND_NOT_A_STRING)
    name = "undefined" if backend is None else backend.lower()
    if name in _VIRTUAL:
        return name
    known = all(part.rpartition(":")[2] in _TORCH_BACKENDS for part in name.split(","))
    if known:
        raise NotImplementedError(errors.BACKEND_NOT_THERE.format(name=backend))
    raise AssertionError(errors.UNKNOWN_BACKEND.format(name=name))


def check_timeout(timeout: timedelta | None) -> None:
    """TypeError unless ``timeout`` is None or a timedelta."""
    if timeout is not None and not isinstance(timeout, timedelta):
        raise TypeError(errors.TIMEOUT_TYPE.format(timeout=timeout))


def check_device(device_id: object) -> None:
    """ValueError unless ``device_id`` is None."""
    if device_id is not None:
        raise ValueError(errors.NO_DEVICES.format(name="device_id", device=device_id))


def check_options(options: VirtualOptions | None) -> VirtualOptions:
    """``options`` or the defaults; TypeError for what is no VirtualOptions."""
    if options is None:
        return VirtualOptions()
    if not isinstance(options, VirtualOptions):
        raise TypeError(f"pg_options of the virtual world is a VirtualOptions, not {type(options).__name__}")
    return options


def check_ranks(ranks: list[int], world_size: int) -> list[int]:
    """``ranks`` if they can be a new group: TypeError if there are none, ValueError for bad ones."""
    if not ranks:
        raise TypeError("new_group needs at least one rank, got an empty list")
    if len(ranks) > world_size:
        raise ValueError(errors.GROUP_TOO_BIG)
    for rank in ranks:
        if not 0 <= rank < world_size:
            raise ValueError(errors.RANK_OUT_OF_RANGE.format(rank=rank, last=world_size - 1, size=world_size))
    if len(set(ranks)) != len(ranks):
        raise ValueError(errors.DUPLICATE_RANKS.format(ranks=ranks))
    return ranks
