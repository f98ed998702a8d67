"""Checks of the arguments of ``init_process_group`` and ``new_group``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from operator import index
from typing import Final

from fake_torch_dist import errors
from fake_torch_dist.core.argument_kinds import whole_number

_VIRTUAL: Final = "virtual"
DRY_RUN: Final = "fake"
"""torch's backend that sends nothing, see ``transports.dry_run``."""
_BACKENDS: Final = ("gloo", "nccl", "undefined", DRY_RUN)
_MISSING: Final = ("mpi", "ucc", "xccl")


@dataclass(frozen=True, kw_only=True, slots=True)
class VirtualOptions:
    """Options of the virtual world that torch has no argument for: ``init_process_group(..., pg_options=...)``."""

    ranks_per_node: int | None = None
    """Ranks on one node, as ``--nproc-per-node``; decides the order in which floats are added. None: all on one."""

    def __post_init__(self) -> None:
        if self.ranks_per_node is not None and whole_number("ranks_per_node", self.ranks_per_node) < 1:
            raise ValueError(f"ranks_per_node = {self.ranks_per_node}; a node has at least one rank")


def check_backend(backend: str | None) -> str:
    """The backend's name in small letters. ValueError for anything but a string, AssertionError for an unknown name.

    RuntimeError for backends of torch that this package does not have.
    """
    if backend is not None and not isinstance(backend, str):
        raise ValueError(errors.BACKEND_NOT_A_STRING)
    name = "undefined" if backend is None else backend.lower()
    parts = [part.rpartition(":")[2] for part in name.split(",")]
    for part in parts:
        if part in _MISSING:
            raise RuntimeError(errors.BACKEND_NOT_BUILT.format(name=part.upper()))
        if part not in _BACKENDS and name != _VIRTUAL:
            raise AssertionError(errors.UNKNOWN_BACKEND.format(name=name))
    return name


def is_virtual(backend: str) -> bool:
    """True for the backend in which one process plays all ranks."""
    return backend == _VIRTUAL


def default_timeout(backend: str) -> timedelta:
    """torch's: 10 minutes for nccl alone, 30 minutes otherwise."""
    return timedelta(minutes=10 if backend == "nccl" else 30)


def check_device(device: object, name: str = "device_id") -> None:
    """Raise ValueError unless ``device``, the argument ``name``, is None."""
    if device is not None:
        raise ValueError(errors.NO_DEVICES.format(name=name, device=device))


def check_options(options: VirtualOptions | None) -> VirtualOptions:
    """``options`` or the defaults; TypeError for anything but VirtualOptions."""
    if options is None:
        return VirtualOptions()
    if not isinstance(options, VirtualOptions):
        raise TypeError(f"pg_options of the virtual world is a VirtualOptions, not {type(options).__name__}")
    return options


def check_ranks(ranks: Iterable[int], world_size: int) -> list[int]:
    """The list of ``ranks`` of a new group: TypeError if there are none, or no numbers; ValueError for bad ones."""
    if not isinstance(ranks, Iterable):
        raise TypeError(f"new_group takes a list of global ranks such as [0, 1], got {ranks!r}")
    ranks = list(ranks)
    if not ranks:
        raise TypeError("new_group needs at least one rank, got an empty list")
    if len(ranks) > world_size:
        raise ValueError(errors.GROUP_TOO_BIG)
    for rank in ranks:
        try:
            index(rank)
        except TypeError:
            text = f"new_group takes global ranks, which are whole numbers such as 0, got {rank!r}"
            raise TypeError(text) from None
        if not 0 <= rank < world_size:
            raise ValueError(errors.RANK_OUT_OF_RANGE.format(rank=rank, last=world_size - 1, size=world_size))
    if len(set(ranks)) != len(ranks):
        raise ValueError(errors.DUPLICATE_RANKS.format(ranks=ranks))
    return ranks
