"""Tensor methods that training scripts call on what a loader or a model returns, for ``LocalTensor``.

Each method acts on every rank's shard alike: ``dim`` counts the axes of one shard, and the axis of ranks is never
moved. Names and defaults are torch's. Reductions are in ``tensor_reductions``.

What this module does not do: in-place methods (those that end with an underscore), views that change the dtype, and
devices other than the one that the ranks have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from fake_torch_dist.core.argument_kinds import whole_number, whole_numbers
from fake_torch_dist.core.numpy_by_rank import matrix_of_ranks, product
from fake_torch_dist.core.tensor_reductions import TensorReductions

if TYPE_CHECKING:
    from typing import TypeAlias

    Array: TypeAlias = npt.NDArray[Any]


class TensorMethods(TensorReductions):
    """Shapes, powers and products of a class that has ``shards`` and is made of shards, and its reductions."""

    __slots__ = ()

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
        given = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
        wanted = whole_numbers("shape", given)
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
        counts = whole_numbers("times", times)
        return type(self)(np.tile(self.unsqueezed_to(len(counts)).shards, (1, *counts)))

    def unsqueezed_to(self, ndim: int) -> Self:
        """Each shard with at least ``ndim`` axes, the new ones first and of length 1."""
        missing = max(whole_number("ndim", ndim) - self.dim(), 0)
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


def _is_dtype(value: Any) -> bool:
    return isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic | float | int))
