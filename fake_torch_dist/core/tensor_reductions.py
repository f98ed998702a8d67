"""Sums, means, extremes and their positions of each rank's shard, for ``LocalTensor``.

``dim`` counts the axes of one shard, and the axis of ranks is never reduced. Names and defaults are torch's, so
integers have no mean until they are made ``float()``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from fake_torch_dist.core.argument_kinds import whole_number

if TYPE_CHECKING:
    from typing import TypeAlias

    Array: TypeAlias = npt.NDArray[Any]
    Axes: TypeAlias = int | tuple[int, ...] | None


class TensorReductions:
    """Reductions of a class that has ``shards`` and is made of shards."""

    __slots__ = ()

    if TYPE_CHECKING:
        shards: Array

        def __init__(self, shards: Array) -> None: ...

    def sum(self, dim: Axes = None, keepdim: bool = False, **numpy_names: Any) -> Self:
        """Sum of each shard, or along ``dim``."""
        return self._reduced(np.sum, dim, keepdim, numpy_names)

    def mean(self, dim: Axes = None, keepdim: bool = False, **numpy_names: Any) -> Self:
        """Mean of each shard, or along ``dim``. RuntimeError, torch's, for integers and booleans."""
        if self.shards.dtype.kind not in "fc":
            raise RuntimeError(
                "mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. "
                f"Got: {self.shards.dtype}"
            )
        return self._reduced(np.mean, dim, keepdim, numpy_names)

    def max(self, dim: Axes = None, keepdim: bool = False, **numpy_names: Any) -> Self:
        """Largest element of each shard, or along ``dim``; the positions are those of ``argmax``."""
        return self._reduced(np.max, dim, keepdim, numpy_names)

    def min(self, dim: Axes = None, keepdim: bool = False, **numpy_names: Any) -> Self:
        """Smallest element of each shard, or along ``dim``; the positions are those of ``argmin``."""
        return self._reduced(np.min, dim, keepdim, numpy_names)

    def argmax(self, dim: int | None = None, keepdim: bool = False, **numpy_names: Any) -> Self:
        """Position of the largest element of each shard, flattened without ``dim``."""
        return self._position(np.argmax, dim, keepdim, numpy_names)

    def argmin(self, dim: int | None = None, keepdim: bool = False, **numpy_names: Any) -> Self:
        """Position of the smallest element of each shard, flattened without ``dim``."""
        return self._position(np.argmin, dim, keepdim, numpy_names)

    def all(self, dim: Axes = None, keepdim: bool = False, **numpy_names: Any) -> Self:
        """True where all elements of a shard are."""
        return self._reduced(np.all, dim, keepdim, numpy_names)

    def any(self, dim: Axes = None, keepdim: bool = False, **numpy_names: Any) -> Self:
        """True where an element of a shard is."""
        return self._reduced(np.any, dim, keepdim, numpy_names)

    def _reduced(self, function: Callable[..., Any], dim: Axes, keepdim: bool, numpy_names: dict[str, Any]) -> Self:
        dim, keepdim = _numpys(dim, keepdim, numpy_names)
        return type(self)(function(self.shards, axis=self._axes(dim), keepdims=keepdim))

    def _position(self, function: Callable[..., Any], dim: int | None, keepdim: bool, names: dict[str, Any]) -> Self:
        dim, keepdim = _numpys(dim, keepdim, names)
        if dim is None:
            return type(self)(function(self.shards.reshape(len(self.shards), -1), axis=1))
        return type(self)(function(self.shards, axis=self._axis(dim), keepdims=keepdim))

    def _axes(self, dim: Axes) -> int | tuple[int, ...]:
        if dim is None:
            return tuple(range(1, self.shards.ndim))
        return tuple(map(self._axis, dim)) if isinstance(dim, tuple) else self._axis(dim)

    def _axis(self, dim: int, *, new: int = 0) -> int:
        """The axis of ``shards`` that is ``dim`` of a shard, which has ``new`` axes more. IndexError, torch's."""
        dim, ndim = whole_number("dim", dim), self.shards.ndim - 1 + new
        if not -max(ndim, 1) <= dim < max(ndim, 1):
            raise IndexError(
                f"Dimension out of range (expected to be in range of [{-max(ndim, 1)}, {max(ndim, 1) - 1}], "
                f"but got {dim})"
            )
        return dim + 1 if dim >= 0 else dim + ndim + 1


def _numpys(dim: Any, keepdim: bool, numpy_names: dict[str, Any]) -> tuple[Any, bool]:
    """(dim, keepdim), also as numpy's functions hand them on: ``axis``, ``keepdims``, and an ``out`` of None."""
    unknown = {name for name, value in numpy_names.items() if value is not None} - {"axis", "keepdims"}
    if unknown:
        raise TypeError(f"a LocalTensor's reduction has no argument {sorted(unknown)[0]!r}")
    return numpy_names.get("axis", dim), numpy_names.get("keepdims", keepdim)
