"""Copies of Python objects for the ranks of the virtual world.

Objects are pickled, as torch does, so a receiver gets its own copy and an unpicklable object fails in the same way.
In the virtual world one object stands for one object per rank: where a ``LocalTensor`` is inside it, each rank's object
has that rank's shard there. A receiver plays all ranks too, so it gets a ``LocalTensor`` with that shard on
every rank, just as ``all_gather`` fills one.

What this module does not do: bytes from another process. Nothing here reads a pickle that this process did not make.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np

from fake_torch_dist.core.local_tensor import LocalTensor


class PickledObject:
    """One object, pickled once, to be copied for any number of ranks."""

    __slots__ = ("_data", "_tensors")

    def __init__(self, obj: object) -> None:
        """Errors: whatever pickle raises for an object that it cannot take."""
        buffer = io.BytesIO()
        pickler = _Pickler(buffer)
        pickler.dump(obj)
        self._data = buffer.getvalue()
        self._tensors = pickler.tensors

    def of_rank(self, rank: int) -> Any:
        """A new copy of global ``rank``'s object."""
        return _Unpickler(self._data, self._tensors, rank).load()


class _Pickler(pickle.Pickler):
    """Leaves tensors out of the pickle: a persistent id, here an index, stands for each."""

    def __init__(self, buffer: io.BytesIO) -> None:
        super().__init__(buffer)
        self.tensors: list[LocalTensor] = []

    def persistent_id(self, obj: object) -> int | None:
        if not isinstance(obj, LocalTensor):
            return None
        self.tensors.append(obj)
        return len(self.tensors) - 1


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, tensors: list[LocalTensor], rank: int) -> None:
        super().__init__(io.BytesIO(data))
        self._tensors = tensors
        self._rank = rank

    def persistent_load(self, pid: int) -> LocalTensor:
        tensor = self._tensors[pid]
        return LocalTensor(np.broadcast_to(tensor.rank(self._rank), tensor.shards.shape).copy())
