"""Arguments of the methods of a group, in the forms that torch's methods take."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

from fake_torch_dist.core.argument_kinds import wrong_kind
from fake_torch_dist.core.checks import as_duration
from fake_torch_dist.core.reduction import Array
from fake_torch_dist.core.row_collectives import RowCollectives
from fake_torch_dist.core.work import Work, begin


def only(tensors: Any) -> Any:
    """The one tensor of a list, or the tensor itself."""
    if not isinstance(tensors, list | tuple):
        return tensors
    if len(tensors) != 1:
        raise RuntimeError(f"a list of one tensor is expected, as this process has one device; got {len(tensors)}")
    return tensors[0]


def list_of_tensors(tensors: Any, name: str) -> list[Any]:
    """A list of tensors as a list. TypeError for anything but a list or tuple."""
    if not isinstance(tensors, list | tuple):
        raise wrong_kind(name, "List[Tensor]", tensors)
    return list(tensors)


def only_list(tensors: Any) -> list[Any]:
    """The one list of a list of lists, or the list itself; a list that is empty stays so."""
    if not isinstance(tensors, list | tuple):
        raise TypeError(f"a list of tensors is expected, got {type(tensors).__name__}")
    if tensors and isinstance(tensors[0], list | tuple):
        return list(only(tensors))
    return list(tensors)


def rows_in(group: RowCollectives, tensor: Any, name: str = "tensors", *, written: bool = False) -> Array:
    return group.transport.rows_of(tensor, name, written=written)


def checked_root(what: str, group: RowCollectives, root: int) -> int:
    group.check_root(what, root)
    return root


def limit_of(timeout: timedelta | float | None) -> timedelta | None:
    """A timeout as ``begin`` takes it; None: the group's."""
    limit = None if timeout is None else as_duration(timeout)
    return None if limit is None or limit < timedelta(0) else limit


def begin_call(
    group: RowCollectives, coroutine: Coroutine[Any, Any, Any], tensors: list[Any], timeout: timedelta | float | None
) -> Work:
    try:
        limit = limit_of(timeout)
    except TypeError:
        coroutine.close()
        raise
    return begin(group, coroutine, tensors, limit)
