"""Tensors in nested lists, tuples and dicts, without communication, under the names of ``accelerate.utils``.

A tensor is a LocalTensor, a numpy array or a numpy scalar. Results have the type of what was given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fake_torch_dist import LocalTensor


def is_torch_tensor(tensor: Any) -> bool:
    """True for what the ranks can exchange as numbers: a LocalTensor, a numpy array or a numpy scalar."""
    return isinstance(tensor, LocalTensor | np.ndarray | np.generic)


def honor_type(obj: Any, generator: Any) -> Any:
    """The entries of ``generator`` in a sequence or mapping of the type of ``obj``, named tuples included."""
    if isinstance(obj, tuple) and hasattr(obj, "_fields"):
        return type(obj)(*generator)
    return type(obj)(generator)


def recursively_apply(
    func: Callable[..., Any],
    data: Any,
    *args: Any,
    test_type: Callable[[Any], bool] = is_torch_tensor,
    error_on_other_type: bool = False,
    **kwargs: Any,
) -> Any:
    """``func`` applied to each tensor in nested lists, tuples and dicts. TypeError for others, if asked for."""
    if isinstance(data, list | tuple):
        return honor_type(
            data,
            (
                recursively_apply(
                    func, each, *args, test_type=test_type, error_on_other_type=error_on_other_type, **kwargs
                )
                for each in data
            ),
        )
    if isinstance(data, Mapping):
        return honor_type(
            data,
            {
                key: recursively_apply(
                    func, each, *args, test_type=test_type, error_on_other_type=error_on_other_type, **kwargs
                )
                for key, each in data.items()
            },
        )
    if test_type(data):
        return func(data, *args, **kwargs)
    if error_on_other_type:
        raise TypeError(
            f"Unsupported types ({type(data)}) passed to `{func.__name__}`. Only nested list/tuple/dicts of "
            f"objects that are valid for `{test_type.__name__}` should be passed."
        )
    return data


def concatenate(data: Any, dim: int = 0) -> Any:
    """Join a list of tensors, or of nested lists, tuples and dicts of tensors, along ``dim``."""
    first = data[0]
    if isinstance(first, list | tuple):
        return honor_type(first, (concatenate([each[i] for each in data], dim=dim) for i in range(len(first))))
    if isinstance(first, Mapping):
        return honor_type(first, {key: concatenate([each[key] for each in data], dim=dim) for key in first})
    if isinstance(first, LocalTensor):
        return LocalTensor(np.concatenate([each.shards for each in data], axis=dim + 1 if dim >= 0 else dim))
    if not isinstance(first, np.ndarray):
        raise TypeError(f"Can only concatenate tensors but got {type(first)}")
    return np.concatenate(data, axis=dim)


def slice_tensors(
    data: Any, tensor_slice: slice, process_index: int | None = None, num_processes: int | None = None
) -> Any:
    """The same slice of each tensor."""
    return recursively_apply(lambda tensor: tensor[tensor_slice], data)


def find_batch_size(data: Any) -> int | None:
    """Length of the first tensor's first axis. ValueError if nothing is there, TypeError if the first is no tensor."""
    if isinstance(data, list | tuple | Mapping) and not data:
        raise ValueError(f"Cannot find the batch size from empty {type(data)}.")
    if isinstance(data, list | tuple):
        return next((size for each in data if (size := find_batch_size(each)) is not None), None)
    if isinstance(data, Mapping):
        return next((size for each in data.values() if (size := find_batch_size(each)) is not None), None)
    if not is_torch_tensor(data):
        raise TypeError(f"Can only find the batch size of tensors but got {type(data)}.")
    return len(data)


def send_to_device(tensor: Any, device: Any, non_blocking: bool = False, skip_keys: Any = None) -> Any:
    """The same tensors: those of each rank are in its memory already. Objects with ``to`` are asked to move."""
    if isinstance(tensor, list | tuple):
        return honor_type(tensor, (send_to_device(each, device, non_blocking, skip_keys) for each in tensor))
    if isinstance(tensor, Mapping):
        kept = {skip_keys} if isinstance(skip_keys, str) else set(skip_keys or ())
        moved = {
            key: each if key in kept else send_to_device(each, device, non_blocking) for key, each in tensor.items()
        }
        return honor_type(tensor, moved)
    return tensor.to(device) if hasattr(tensor, "to") else tensor
