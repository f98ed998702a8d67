"""torch's option structs of a process group's methods: plain values, set after construction or in it.

``asyncOp``, ``rootTensor`` and ``device`` are kept and change nothing here: methods always return a ``Work``, a list
holds one tensor, and there are no devices. Roots are group ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final, SupportsIndex

from fake_torch_dist.core.reduce_op import ReduceOp

UNSET_TIMEOUT: Final = timedelta(milliseconds=-1)
"""torch's mark of a timeout that is the group's; any other below zero is the group's, too."""

_WANTED: Final[dict[str, tuple[type, str]]] = {
    "timeout": (timedelta, "a datetime.timedelta, such as timedelta(seconds=30)"),
    "reduceOp": (ReduceOp, "a ReduceOp, such as ReduceOp.SUM"),
    "rootRank": (SupportsIndex, "a rank of the group, such as 0"),
    "rootTensor": (SupportsIndex, "the index of a tensor, 0"),
}
"""Type of a value, and what an error proposes; the others are kept as they are."""


class Options:
    """Values by name. Ours, not torch's.

    AttributeError or TypeError for a name that the struct does not have, TypeError for a value of another type.
    """

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
        kind, example = _WANTED.get(name, (object, ""))
        if not isinstance(value, kind):
            raise TypeError(f"{name} of {type(self).__name__} is {value!r}: set it to {example}")
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
