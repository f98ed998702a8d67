"""Puts fake_torch_dist behind torch.distributed's names, so that torch's own tests call it.

Tensors stay torch's: a CPU tensor is handed over as the numpy view of its memory, so that its test sees what was
written in place. Everything else is passed on as it is. ``install`` is called before the tests are imported, since they
take names out of torch's modules. Sparse tensors and bfloat16 have no numpy view; their tests cannot be run this way.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
import torch
import torch.distributed
import torch.distributed.distributed_c10d

import fake_torch_dist as dist
from fake_torch_dist import distributed_c10d
from fake_torch_dist.core import collective_methods, process_group

OURS_ALONE = frozenset(("Future", "LocalTensor", "VirtualOptions", "fold", "fold_world", "shards_of"))
PRIVATE = (
    "_all_gather_base", "_get_default_group", "_get_default_store", "_get_process_group_store", "_rank_not_in_group",
    "_reduce_scatter_base", "_resolve_process_group", "_set_pg_timeout",
)  # fmt: skip
OF_GROUPS = (process_group.__name__, collective_methods.__name__)
"""Modules of the methods that torch's groups have."""
MODULES = (torch.distributed, torch.distributed.distributed_c10d)


def install() -> None:
    """Replace every name of torch's two modules that fake_torch_dist has, and bind its groups' methods to tensors."""
    for name in dist.__all__:
        if name not in OURS_ALONE:
            _replace(name, _redirected(getattr(dist, name)))
    for name in PRIVATE:
        _replace(name, _redirected(getattr(distributed_c10d, name)))
    _replace("_make_nccl_premul_sum", dist._make_nccl_premul_sum)
    _replace("P2POp", OperationOnTensor)
    for name, value in inspect.getmembers(dist.ProcessGroup, inspect.isfunction):
        if value.__module__ in OF_GROUPS and not name.startswith("__"):
            setattr(dist.ProcessGroup, name, on_tensors(value))


def _replace(name: str, value: object) -> None:
    for module in MODULES:
        setattr(module, name, value)


def _redirected(value: Any) -> Any:
    """Functions of objects pass torch's tensors on as objects, and fill the lists that they are given."""
    return on_tensors(value) if inspect.isfunction(value) and "object" not in value.__name__ else value


def on_tensors(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` for callers with torch's tensors; what it returns lists those, not their views."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        views = Views()
        found = function(*map(views.of, args), **{name: views.of(value) for name, value in kwargs.items()})
        return views.back(found)

    return call


class Views:
    """The views that one call was given, and the tensors that they are of."""

    def __init__(self) -> None:
        self._tensors: list[tuple[np.ndarray, torch.Tensor]] = []

    def of(self, value: Any) -> Any:
        """The view of a tensor; lists of them; anything else as it is."""
        if isinstance(value, torch.Tensor):
            view = value.detach().numpy()
            self._tensors.append((view, value))
            return view
        if isinstance(value, list | tuple):
            return type(value)(map(self.of, value))
        if isinstance(value, OperationOnTensor):
            self._tensors.append((value.tensor, value.given))
        return value

    def back(self, value: Any) -> Any:
        """The tensor of a view; works, futures and lists that hold them."""
        if isinstance(value, np.ndarray):
            return next((tensor for view, tensor in self._tensors if view is value), value)
        if isinstance(value, list):
            return [self.back(each) for each in value]
        if isinstance(value, dist.Work):
            return WorkOnTensors(value, self)
        return FutureOfTensors(value, self) if isinstance(value, dist.Future) else value


class WorkOnTensors:
    """A ``Work`` that lists torch's tensors."""

    def __init__(self, work: dist.Work, views: Views) -> None:
        self._work = work
        self._views = views

    def result(self) -> Any:
        return self._views.back(self._work.result())

    def get_future(self) -> Any:
        return FutureOfTensors(self._work.get_future(), self._views)

    def _source_rank(self) -> int:
        return self._work.source_rank()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._work, name)


class FutureOfTensors:
    """A ``Future`` whose value is torch's tensors."""

    def __init__(self, future: dist.Future, views: Views) -> None:
        self._future = future
        self._views = views

    def wait(self) -> Any:
        return self._views.back(self._future.wait())

    def value(self) -> Any:
        return self._views.back(self._future.value())

    def done(self) -> bool:
        return self._future.done()

    def then(self, callback: Callable[[Any], Any]) -> Any:
        return FutureOfTensors(self._future.then(lambda _: callback(self)), self._views)

    def add_done_callback(self, callback: Callable[[Any], Any]) -> None:
        self._future.add_done_callback(lambda _: callback(self))


class OperationOnTensor(dist.P2POp):
    """A ``P2POp`` of a tensor's view, whose ``op`` may be the redirected function."""

    def __init__(self, op: Any, tensor: Any, *args: Any, **kwargs: Any) -> None:
        self.given = tensor
        super().__init__(getattr(op, "__wrapped__", op), Views().of(tensor), *args, **kwargs)
