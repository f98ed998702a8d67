"""Collectives over tensors and objects in nested lists, tuples and dicts, under the names of ``accelerate.utils``.

In a process that plays all ranks an array or an object is
the same on every rank, so gathering repeats it; a LocalTensor has a value for each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from accelerate_sim.own_script.nested_tensors import recursively_apply
from accelerate_sim.state import PartialState
from fake_torch_dist import LocalTensor

Array: TypeAlias = npt.NDArray[Any]


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
            everyones: list[Any] = object
            return everyones
        everyones = [None] * state.num_processes
        dist.all_gather_object(everyones, object)
    if not isinstance(object, Iterable):
        raise TypeError(f"gather_object joins the lists of all ranks: give it a list such as [{object!r:.40}]")
    return [entry for entries in everyones for entry in entries]


def broadcast_object_list(object_list: list[Any], from_process: int = 0) -> list[Any]:
    """Replace the entries of the list by those of rank ``from_process``, and return it."""
    import fake_torch_dist as dist

    with _communicating():
        dist.broadcast_object_list(object_list, src=from_process)
    return object_list
