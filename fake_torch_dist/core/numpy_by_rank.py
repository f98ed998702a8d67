"""numpy's functions on tensors of several ranks: each acts on every rank's shard, never along the axis of ranks.

``LocalTensor.act_as_rank`` turns them on. A function that is not done rank by rank here raises TypeError; numpy would
otherwise take the axis of ranks for one of the data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from typing import TypeAlias

    Array: TypeAlias = npt.NDArray[Any]


def ufunc_by_rank(tensor: Any, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
    """numpy's protocol ``__array_ufunc__``: an elementwise function of tensors, arrays and numbers."""
    if method != "__call__" or options.get("out") is not None:
        return NotImplemented
    if ufunc is np.matmul:
        return type(tensor)(product(*map(matrix_of_ranks, inputs)))
    operands = [matrix_of_ranks(each) if np.ndim(each) or hasattr(each, "shards") else each for each in inputs]
    ndim = max(np.ndim(each) for each in operands)
    result = ufunc(*(_deepened(each, ndim) for each in operands), **options)
    return tuple(map(type(tensor), result)) if isinstance(result, tuple) else type(tensor)(result)


def function_by_rank(tensor: Any, function: Any, types: Iterable[type], args: Any, kwargs: Mapping[str, Any]) -> Any:
    """numpy's protocol ``__array_function__``: functions that are a method of the tensor. TypeError for others."""
    name = function.__name__
    if function is np.dot:
        return type(tensor)(product(*map(matrix_of_ranks, args)))
    if function in (np.shape, np.ndim, np.size):
        return {"shape": tensor.shape, "ndim": tensor.ndim, "size": tensor.numel()}[name]
    method = getattr(type(tensor), {"amax": "max", "amin": "min"}.get(name, name), None)
    if method is None or not (args and isinstance(args[0], type(tensor))):
        raise TypeError(
            f"np.{name} has no meaning for a tensor of {len(tensor.shards)} ranks in one process: use the tensor's "
            "methods, or start a process for each rank with fake-torchrun"
        )
    return method(*args, **kwargs)


def _deepened(operand: Any, ndim: int) -> Any:
    """``operand`` with new axes after that of the ranks until it has ``ndim``; numbers stay."""
    if not np.ndim(operand):
        return operand
    return operand.reshape(operand.shape[:1] + (1,) * (ndim - operand.ndim) + operand.shape[1:])


def matrix_of_ranks(operand: Any) -> Array:
    """``operand`` with a leading axis of ranks; an ndarray is every rank's."""
    shards: Array | None = getattr(operand, "shards", None)
    return np.asarray(operand)[np.newaxis] if shards is None else shards


def product(left: Array, right: Array) -> Array:
    """Matrix product of each rank's operands, which may be vectors, as torch's ``matmul`` treats them."""
    if left.ndim == 1 or right.ndim == 1:
        raise RuntimeError("both arguments to matmul need to be at least 1D, but there is a 0D one")
    vectors = left.ndim == 2, right.ndim == 2
    left = left[:, np.newaxis] if vectors[0] else left
    right = right[..., np.newaxis] if vectors[1] else right
    ndim = max(left.ndim, right.ndim)
    made: Array = np.matmul(_deepened(left, ndim), _deepened(right, ndim))
    if vectors[1]:
        made = made[..., 0]
    if vectors[0]:
        made = made[:, 0] if vectors[1] else made[..., 0, :]
    return made
