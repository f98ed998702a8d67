"""torch's option structs of a process group's methods: plain values, set after construction or in it.

``asyncOp``, ``rootTensor`` and ``device`` are kept and change nothing here: methods always return a ``Work``, a list
holds one tensor, and there are no devices. Roots are group ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from fake_torch_dist.core.reduction import ReduceOp

UNSET_TIMEOUT: Final = timedelta(milliseconds=-1)
"""torch's mark of a timeout that is the group's; any other below zero is the group's, too."""


class Options:
    """Values by name. AttributeError or TypeError for a name that the struct does not have. Ours, not torch's."""

    timeout: timedelta = UNSET_TIMEOUT
    asyncOp: bool = True

    def __init__(self, **values: Any) -> None:
        for name, value in values.items():
            if not hasattr(type(self), name):
                raise TypeError(f"{type(self).__name__} has no {name!r}")
            setattr(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        if not hasattr(type(self), name):
            raise AttributeError(f"{type(self).__name__} has no {name!r}")
        super().__setattr__(name, value)


class RootedOptions(Options):
    """Values of collectives with a root. Ours, not torch's."""

    rootRank: int = 0
    rootTensor: int = 0


class AllToAllOptions(Options):
    """Options of ``alltoall`` and ``alltoall_base``."""


class AllgatherOptions(Options):
    """Options of ``allgather``, ``allgather_coalesced`` and ``_allgather_base``."""


class AllreduceOptions(Options):
    """Options of ``allreduce``."""

    reduceOp: ReduceOp = ReduceOp(ReduceOp.SUM)


class AllreduceCoalescedOptions(AllreduceOptions):
    """Options of ``allreduce_coalesced``."""


class BarrierOptions(Options):
    """Options of ``barrier``."""

    device_ids: Sequence[int] = ()
    device: Any = None


class BroadcastOptions(RootedOptions):
    """Options of ``broadcast``."""


class GatherOptions(RootedOptions):
    """Options of ``gather``."""


class ScatterOptions(RootedOptions):
    """Options of ``scatter``."""


class ReduceOptions(RootedOptions):
    """Options of ``reduce``."""

    reduceOp: ReduceOp = ReduceOp(ReduceOp.SUM)


class ReduceScatterOptions(Options):
    """Options of ``reduce_scatter`` and ``_reduce_scatter_base``."""

    reduceOp: ReduceOp = ReduceOp(ReduceOp.SUM)
