"""``OneRankTransport``: tensors and objects of a process that plays one rank, for all its transports.

A tensor is an ndarray. Objects are pickled, as in torch, so a receiver gets its own copy and an unpicklable object
raises pickle's own error before anything is sent.
"""

from __future__ import annotations

import pickle
from typing import Any, ClassVar, Final

import numpy as np

from fake_torch_dist import errors
from fake_torch_dist.core.argument_kinds import kind_of
from fake_torch_dist.core.local_tensor import LocalTensor
from fake_torch_dist.core.reduction import Array

_NUMBERS: Final = frozenset("?bBhHiIlLqQefdFD")
"""numpy's codes of the dtypes that torch has, too."""


class OneRankTransport:
    """The part of a ``Transport`` that depends on this process's playing one rank, and on nothing else."""

    tensor_type: ClassVar[str] = "numpy.ndarray"
    has_uneven_blocks: ClassVar[bool] = True

    @staticmethod
    def rows_of(tensor: object, name: str, *, written: bool = False) -> Array:
        """The ndarray ``tensor`` with a leading axis of length 1. Errors: see ``Transport``."""
        if not isinstance(tensor, np.ndarray):
            way_out = errors.NO_LOCAL_TENSORS if isinstance(tensor, LocalTensor) else f", got {kind_of(tensor)}"
            raise TypeError(errors.INVALID_ARGUMENT.format(name=name, wanted="numpy.ndarray") + way_out)
        if tensor.dtype.char not in _NUMBERS or not tensor.dtype.isnative:
            wanted = "numpy.ndarray of a dtype that torch has"
            raise TypeError(f"{errors.INVALID_ARGUMENT.format(name=name, wanted=wanted)}, got {tensor.dtype!r}")
        if written and not tensor.flags.writeable:
            raise ValueError(f"{name} is read-only; the result is written into it")
        return np.asarray(tensor)[np.newaxis]

    def pack(self, obj: object) -> bytes:
        """The pickle of ``obj``."""
        return pickle.dumps(obj)

    def unpack(self, packed: Any, rank: int) -> Any:
        """The object of a pickle, which comes from a member of the group."""
        return pickle.loads(packed)
