"""Tensor methods that training scripts call on what a loader or a model returns, for ``LocalTensor``.

Each method acts on every rank's shard alike: ``dim`` counts the axes of one shard, and the axis of ranks is never
reduced. Names and defaults are torch's, so integers have no mean until they are made ``float()``.

What this module does not do: in-place methods (those that end with an underscore), views that change the dtype, and
devices other than the one that the ranks have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from fake_torch_dist.core.numpy_by_rank import matrix_of_ranks, product

if TYPE_CHECKING:
    from typing import TypeAlias

    Array: TypeAlias = npt.NDArray[Any]
    Axes: TypeAlias = int | tuple[int, ...] | None


class TensorMethods:
    """Reductions, shapes, powers and products of a class that has ``shards`` and is made of shards."""

    __slots__ = ()

    if TYPE_CHECKING:
        shards: Array

        def __init__(self, shards: Array) -> None: ...

    # -- reductions ---------------------------------------------------------------------------------------------------

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
        ndim = self.shards.ndim - 1 + new
        if not -max(ndim, 1) <= dim < max(ndim, 1):
            raise IndexError(
                f"Dimension out of range (expected to be in range of [{-max(ndim, 1)}, {max(ndim, 1) - 1}], "
                f"but got {dim})"
            )
        return dim + 1 if dim >= 0 else dim + ndim + 1

    # -- elementwise --------------------------------------------------------------------------------------------------

    def __pow__(self, exponent: Any) -> Self:
        return type(self)(self.shards ** getattr(exponent, "shards", exponent))

    def __abs__(self) -> Self:
        return type(self)(np.abs(self.shards))

    def __invert__(self) -> Self:
        return type(self)(~self.shards)

    def abs(self) -> Self:
        """Elementwise absolute value."""
        return type(self)(np.abs(self.shards))

    def pow(self, exponent: Any) -> Self:
        """Elementwise power."""
        return type(self)(self.shards ** getattr(exponent, "shards", exponent))

    def exp(self) -> Self:
        """Elementwise exponential."""
        return type(self)(np.exp(self.shards))

    def log(self) -> Self:
        """Elementwise natural logarithm."""
        return type(self)(np.log(self.shards))

    def sqrt(self) -> Self:
        """Elementwise square root."""
        return type(self)(np.sqrt(self.shards))

    def tanh(self) -> Self:
        """Elementwise hyperbolic tangent."""
        return type(self)(np.tanh(self.shards))

    def sigmoid(self) -> Self:
        """Elementwise logistic function."""
        return type(self)(1.0 / (1.0 + np.exp(-self.shards)))

    def clamp(self, min: float | None = None, max: float | None = None) -> Self:
        """Elements limited to [``min``, ``max``]."""
        return type(self)(np.clip(self.shards, min, max))

    # -- products -----------------------------------------------------------------------------------------------------

    def __matmul__(self, other: Any) -> Self:
        return type(self)(product(self.shards, matrix_of_ranks(other)))

    def __rmatmul__(self, other: Any) -> Self:
        return type(self)(product(matrix_of_ranks(other), self.shards))

    def dot(self, other: Any) -> Self:
        """Matrix product, rank by rank."""
        return type(self)(product(self.shards, matrix_of_ranks(other)))

    @property
    def T(self) -> Self:
        """Each shard with its axes reversed."""
        return type(self)(self.shards.transpose(0, *range(self.shards.ndim - 1, 0, -1)))

    # -- shapes -------------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        if self.shards.ndim == 1:
            raise TypeError("len() of a 0-d tensor")
        return len(self.shards[0])

    def size(self, dim: int | None = None) -> Any:
        """Shape of a shard, or its length along ``dim``."""
        return self.shards.shape[1:] if dim is None else self.shards.shape[self._axis(dim)]

    def dim(self) -> int:
        """Axes of a shard."""
        return self.shards.ndim - 1

    def numel(self) -> int:
        """Elements of a shard."""
        return len(self.shards[0].reshape(-1))

    def reshape(self, *shape: Any) -> Self:
        """Each shard in another shape; one -1 is worked out."""
        wanted = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
        return type(self)(self.shards.reshape(len(self.shards), *wanted))

    view = reshape

    def flatten(self) -> Self:
        """Each shard with one axis."""
        return self.reshape(-1)

    def unsqueeze(self, dim: int) -> Self:
        """Each shard with a new axis of length 1 at ``dim``."""
        return type(self)(np.expand_dims(self.shards, self._axis(dim, new=1)))

    def squeeze(self, dim: int | None = None) -> Self:
        """Each shard without its axes of length 1, or without ``dim`` if that is one."""
        shape = self.shards.shape
        axes = range(1, self.shards.ndim) if dim is None else [self._axis(dim)]
        return type(self)(np.squeeze(self.shards, tuple(axis for axis in axes if shape[axis] == 1)))

    def repeat(self, *times: int) -> Self:
        """Each shard as often along each axis as ``times`` says."""
        return type(self)(np.tile(self.unsqueezed_to(len(times)).shards, (1, *times)))

    def unsqueezed_to(self, ndim: int) -> Self:
        """Each shard with at least ``ndim`` axes, the new ones first and of length 1."""
        missing = max(ndim - self.dim(), 0)
        return self.reshape(*(1,) * missing, *self.size())

    # -- types, devices, Python ---------------------------------------------------------------------------------------

    def astype(self, dtype: npt.DTypeLike) -> Self:
        """The same numbers in another dtype."""
        return type(self)(self.shards.astype(dtype))

    def float(self) -> Self:
        """As float32."""
        return self.astype(np.float32)

    def double(self) -> Self:
        """As float64."""
        return self.astype(np.float64)

    def long(self) -> Self:
        """As int64."""
        return self.astype(np.int64)

    def int(self) -> Self:
        """As int32."""
        return self.astype(np.int32)

    def bool(self) -> Self:
        """As booleans."""
        return self.astype(np.bool_)

    def to(self, *devices: Any, **options: Any) -> Self:
        """The same tensor, whose shards are with their ranks whatever the device is called; numpy dtypes convert."""
        dtype = options.get("dtype", next((each for each in devices if _is_dtype(each)), None))
        return self if dtype is None else self.astype(dtype)

    def tolist(self) -> Any:
        """The elements as nested lists, of the acting rank; without one, of every rank in order."""
        return np.asarray(self).tolist()

    def numpy(self) -> Array:
        """An array of the acting rank; without one, of every rank along axis 0."""
        return np.asarray(self)

    def cpu(self) -> Self:
        """The same tensor: the numbers are in this process's memory."""
        return self


def _numpys(dim: Any, keepdim: bool, numpy_names: dict[str, Any]) -> tuple[Any, bool]:
    """(dim, keepdim), also as numpy's functions hand them on: ``axis``, ``keepdims``, and an ``out`` of None."""
    unknown = {name for name, value in numpy_names.items() if value is not None} - {"axis", "keepdims"}
    if unknown:
        raise TypeError(f"a LocalTensor's reduction has no argument {sorted(unknown)[0]!r}")
    return numpy_names.get("axis", dim), numpy_names.get("keepdims", keepdim)


def _is_dtype(value: Any) -> bool:
    return isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic | float | int))
