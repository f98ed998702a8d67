"""Steps that torch's functions share: find the group, take its rows of tensors, find the root, begin, wait.

What this module does not do: check shapes and dtypes, which is the group's (``core.row_collectives``).
"""

from __future__ import annotations

import warnings
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

from fake_torch_dist import errors
from fake_torch_dist.api.registry import find_group, get_group_rank, get_rank, is_non_member
from fake_torch_dist.core.argument_kinds import is_set
from fake_torch_dist.core.process_group import ProcessGroup
from fake_torch_dist.core.reduction import Array
from fake_torch_dist.core.work import Work, begin


def member_group(what: str, group: ProcessGroup | None) -> ProcessGroup | None:
    """The group that ``group`` means, or None, with torch's warning, if this process is no member of it."""
    if group is not None and is_non_member(group):
        warnings.warn(errors.NOT_A_MEMBER.format(what=what, rank=get_rank()), stacklevel=3)
        return None
    return find_group(group)


def rows_of(group: ProcessGroup, tensor: object, name: str = "tensor", *, written: bool = False) -> Array:
    """The array behind ``tensor``, shape (ranks played here, \\*shape). ``name`` and errors: ``Transport.rows_of``."""
    return group.transport.rows_of(tensor, name, written=written)


def root_of(
    what: str, group: ProcessGroup, global_rank: int | None, group_rank: int | None, default: int | None = None
) -> int:
    """The root as a group rank, named in one of torch's two ways. ``default`` is a global rank."""
    if global_rank is not None and group_rank is not None:
        raise ValueError(errors.TWO_ROOTS)
    if group_rank is None:
        global_rank = default if global_rank is None else global_rank
        if global_rank is None:
            raise ValueError(errors.NO_ROOT)
        group_rank = get_group_rank(group, global_rank)
    group.check_root(what, group_rank)
    return group_rank


def call(
    group: ProcessGroup,
    coroutine: Coroutine[Any, Any, Any],
    tensors: list[Any],
    async_op: bool,
    timeout: timedelta | None = None,
) -> Work | None:
    """Run a collective to its end, or with ``async_op`` start it and return its ``Work``, which lists ``tensors``."""
    if async_op is not False and _asks_for_work(async_op, coroutine):
        return begin(group, coroutine, tensors, timeout)
    group.runner.run(coroutine, group.ranks, group.timeout if timeout is None else timeout, group.number)
    return None


def _asks_for_work(async_op: object, coroutine: Coroutine[Any, Any, Any]) -> bool:
    """True if the flag is set; closes ``coroutine`` if it is no flag (TypeError), as it will never run."""
    try:
        return is_set("async_op", async_op)
    except TypeError:
        coroutine.close()
        raise
