"""Collectives over tensors and objects in nested lists, tuples and dicts, under the names of ``accelerate.utils``.

A tensor is a LocalTensor, a numpy array or a numpy scalar. In a process that plays all ranks an array or an object is
the same on every rank, so gathering repeats it; a LocalTensor has a value for each. Results have the type of what was
given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from accelerate_sim.state import PartialState
from fake_torch_dist import LocalTensor

Array: TypeAlias = npt.NDArray[Any]


def is_torch_tensor(tensor: Any) -> bool:
    """True for what the ranks can exchange as numbers: a LocalTensor, a numpy array or a numpy scalar."""
    return isinstance(tensor, LocalTensor | np.ndarray | np.generic)


def honor_type(obj: Any, generator: Any) -> Any:
    """The entries of ``generator`` in a sequence of the type of ``obj``, named tuples included."""
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
        return type(data)(  # type: ignore[call-arg]
            {
                key: recursively_apply(
                    func, each, *args, test_type=test_type, error_on_other_type=error_on_other_type, **kwargs
                )
                for key, each in data.items()
            }
        )
    if test_type(data):
        return func(data, *args, **kwargs)
    if error_on_other_type:
        raise TypeError(
            f"Unsupported types ({type(data)}) passed to `{func.__name__}`. Only nested list/tuple/dicts of "
            f"objects that are valid for `{test_type.__name__}` should be passed."
        )
    return data


@contextmanager
def _communicating() -> Iterator[PartialState]:
    """Context of a collective, in which a signal ends the process at once."""
    state = PartialState.entered()
    with state.session.signals.at_once():
        yield state


def _shards(tensor: Any, num_ranks: int) -> Array:
    """A writable copy of the values that the ranks of this process have, shape (ranks, \\*shape)."""
    if isinstance(tensor, LocalTensor):
        return tensor.shards.copy()
    array = np.asarray(tensor)
    return np.broadcast_to(array, (num_ranks, *array.shape)).copy()


def _like(tensor: Any, shards: Array) -> Any:
    """``shards`` as the type that ``tensor`` has."""
    if isinstance(tensor, LocalTensor):
        return LocalTensor(shards)
    return shards[0] if isinstance(tensor, np.ndarray) else shards[0][()]


def _for_collective(shards: Array, state: PartialState) -> Any:
    """``shards`` as collectives take them: of one rank an array, of all ranks a LocalTensor."""
    return LocalTensor(shards) if state.plays_all_ranks else shards[0, ...]


# --- Tensors ------------------------------------------------------------------------------------


def gather(tensor: Any) -> Any:
    """The tensors of all ranks, one after the other along the first axis, on every rank.

    Numbers without an axis become a vector. TypeError for what is no tensor.
    """
    return recursively_apply(_gpu_gather_one, tensor, error_on_other_type=True)


def _gpu_gather_one(tensor: Any) -> Any:
    # The name is in Accelerate's message about types, which users look up.
    import fake_torch_dist as dist

    with _communicating() as state:
        mine = _shards(tensor, state.num_played)
        if mine.ndim == 1:
            mine = mine[:, np.newaxis]
        everyones = np.empty((len(mine), state.num_processes * mine.shape[1], *mine.shape[2:]), mine.dtype)
        dist.all_gather_single(_for_collective(everyones, state), _for_collective(mine, state))
    return LocalTensor(everyones) if isinstance(tensor, LocalTensor) else everyones[0]


def reduce(tensor: Any, reduction: str = "mean", scale: float = 1.0) -> Any:
    """Sum or mean of the tensors over all ranks, on every rank.

    "none" gives the sum, too, and ``scale`` changes nothing, as in Accelerate without a TPU. What is no tensor stays
    what it is.
    """

    def reduced(tensor: Any) -> Any:
        import fake_torch_dist as dist

        with _communicating() as state:
            mine = _shards(tensor, state.num_played)
            dist.all_reduce(_for_collective(mine, state))
        if reduction == "mean":
            mine = mine / state.num_processes if mine.dtype.kind not in "fc" else _divided(mine, state.num_processes)
        return _like(tensor, mine)

    return recursively_apply(reduced, tensor)


def _divided(shards: Array, number: int) -> Array:
    shards /= number
    return shards


def broadcast(tensor: Any, from_process: int = 0) -> Any:
    """The tensors of rank ``from_process``, on every rank."""

    def _gpu_broadcast_one(tensor: Any) -> Any:
        import fake_torch_dist as dist

        with _communicating() as state:
            mine = _shards(tensor, state.num_played)
            dist.broadcast(_for_collective(mine, state), src=from_process)
        return _like(tensor, mine)

    return recursively_apply(_gpu_broadcast_one, tensor, error_on_other_type=True)


def pad_across_processes(tensor: Any, dim: int = 0, pad_index: float = 0, pad_first: bool = False) -> Any:
    """The tensors made as long along ``dim`` as the longest one of any rank, with ``pad_index`` at the end or first.

    The ranks of one process have tensors of one shape.
    """

    def _pad_across_processes(tensor: Any) -> Any:
        array = tensor.shards[0] if isinstance(tensor, LocalTensor) else np.asarray(tensor)
        if dim >= array.ndim or dim < -array.ndim:
            return tensor
        longest = int(np.max(gather(np.array([array.shape[dim]]))))
        missing = longest - array.shape[dim]
        if not missing:
            return tensor
        widths = [(0, 0)] * array.ndim
        widths[dim] = (missing, 0) if pad_first else (0, missing)
        if isinstance(tensor, LocalTensor):
            return LocalTensor(np.pad(tensor.shards, [(0, 0), *widths], constant_values=pad_index))
        return np.pad(array, widths, constant_values=pad_index)

    return recursively_apply(_pad_across_processes, tensor, error_on_other_type=True)


# --- Objects ------------------------------------------------------------------------------------


def gather_object(object: Any) -> list[Any]:
    """The entries of all ranks' lists in one list, in rank order, on every rank.

    A process that plays all ranks repeats its list for each, unless it has one entry for each entry of the latest
    ``split_between_processes``: that list holds the results of all ranks already.
    """
    import fake_torch_dist as dist

    with _communicating() as state:
        if state.num_processes == 1 or (state.plays_all_ranks and state.holds_all_results(object)):
            return object  # type: ignore[no-any-return]
        everyones: list[Any] = [None] * state.num_processes
        dist.all_gather_object(everyones, object)
    return [entry for entries in everyones for entry in entries]


def broadcast_object_list(object_list: list[Any], from_process: int = 0) -> list[Any]:
    """Replace the entries of the list by those of rank ``from_process``, and return it."""
    import fake_torch_dist as dist

    with _communicating():
        dist.broadcast_object_list(object_list, src=from_process)
    return object_list


# --- Without communication ----------------------------------------------------------------------


def concatenate(data: Any, dim: int = 0) -> Any:
    """Join a list of tensors, or of nested lists, tuples and dicts of tensors, along ``dim``."""
    first = data[0]
    if isinstance(first, list | tuple):
        return honor_type(first, (concatenate([each[i] for each in data], dim=dim) for i in range(len(first))))
    if isinstance(first, Mapping):
        return type(first)(  # type: ignore[call-arg]
            {key: concatenate([each[key] for each in data], dim=dim) for key in first}
        )
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
        return type(tensor)(  # type: ignore[call-arg]
            {key: each if key in kept else send_to_device(each, device, non_blocking) for key, each in tensor.items()}
        )
    return tensor.to(device) if hasattr(tensor, "to") else tensor
