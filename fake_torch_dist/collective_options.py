"""torch's option structs of a process group's methods: plain values, set after construction or in it.

``asyncOp`` and ``device`` are kept and change nothing here: methods always return a ``Work``, and there are no devices.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from .reduction import ReduceOp

UNSET_TIMEOUT: Final = timedelta(milliseconds=-1)
"""torch's mark of a timeout that is the group's; any other below zero is the group's, too."""


def _sum() -> ReduceOp:
    return ReduceOp(ReduceOp.SUM)


@dataclass(slots=True)
class AllToAllOptions:
    """Options of ``alltoall`` and ``alltoall_base``."""

    timeout: timedelta = UNSET_TIMEOUT
    asyncOp: bool = True


@dataclass(slots=True)
class AllgatherOptions:
    """Options of ``allgather``, ``allgather_coalesced`` and ``_allgather_base``."""

    timeout: timedelta = UNSET_TIMEOUT
    asyncOp: bool = True


@dataclass(slots=True)
class AllreduceOptions:
    """Options of ``allreduce``."""

    reduceOp: ReduceOp = field(default_factory=_sum)
    timeout: timedelta = UNSET_TIMEOUT
    asyncOp: bool = True


@dataclass(slots=True)
class AllreduceCoalescedOptions(AllreduceOptions):
    """Options of ``allreduce_coalesced``."""


@dataclass(slots=True)
class BarrierOptions:
    """Options of ``barrier``."""

    device_ids: list[int] = field(default_factory=list)
    timeout: timedelta = UNSET_TIMEOUT
    device: Any = None
    asyncOp: bool = True


@dataclass(slots=True)
class BroadcastOptions:
    """Options of ``broadcast``. ``rootRank`` is a group rank; ``rootTensor`` an index of the list of tensors."""

    rootRank: int = 0
    rootTensor: int = 0
    timeout: timedelta = UNSET_TIMEOUT
    asyncOp: bool = True


@dataclass(slots=True)
class GatherOptions:
    """Options of ``gather``. ``rootRank`` is a group rank."""

    rootRank: int = 0
    timeout: timedelta = UNSET_TIMEOUT
    asyncOp: bool = True


@dataclass(slots=True)
class ScatterOptions:
    """Options of ``scatter``. ``rootRank`` is a group rank."""

    rootRank: int = 0
    timeout: timedelta = UNSET_TIMEOUT
    asyncOp: bool = True


@dataclass(slots=True)
class ReduceOptions:
    """Options of ``reduce``. ``rootRank`` is a group rank."""

    reduceOp: ReduceOp = field(default_factory=_sum)
    rootRank: int = 0
    rootTensor: int = 0
    timeout: timedelta = UNSET_TIMEOUT
    asyncOp: bool = True


@dataclass(slots=True)
class ReduceScatterOptions:
    """Options of ``reduce_scatter`` and ``_reduce_scatter_base``."""

    reduceOp: ReduceOp = field(default_factory=_sum)
    timeout: timedelta = UNSET_TIMEOUT
    asyncOp: bool = True
