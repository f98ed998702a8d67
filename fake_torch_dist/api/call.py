"""How every collective begins: find the group, look at the tensors and the root, start it, wait or return ``Work``.

A tensor is a ``LocalTensor`` where this process plays all ranks and an ndarray where it plays one. What that module
does not do: check shapes and dtypes, which is the group's (process_group.py).
"""

from __future__ import annotations

import warnings
from collections.abc import Coroutine, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from fake_torch_dist import errors
from fake_torch_dist.api.registry import find_group, get_group_rank, get_rank, is_non_member
from fake_torch_dist.api.work import Work
from fake_torch_dist.core.local_tensor import LocalTensor, shards_of
from fake_torch_dist.core.process_group import ProcessGroup
from fake_torch_dist.core.reduction import Array
from fake_torch_dist.transports.tasks import Task, run_alone

if TYPE_CHECKING:
    from fake_torch_dist.transports.engine import Engine

Tensor: TypeAlias = "LocalTensor | Array"
Group: TypeAlias = "ProcessGroup | None"

_NUMBERS: Final = frozenset("?bBhHiIlLqQefdFD")
"""numpy's codes of the dtypes that torch has, too."""


def member_group(what: str, group: ProcessGroup | None) -> ProcessGroup | None:
    """The group that ``group`` means, or None, with torch's warning, if this process is no member of it."""
    if group is not None and is_non_member(group):
        warnings.warn(errors.NOT_A_MEMBER.format(what=what, rank=get_rank()), stacklevel=3)
        return None
    return find_group(group)


def rows_of(group: ProcessGroup, tensor: object, name: str = "tensor", *, written: bool = False) -> Array:
    """The array behind ``tensor``, shape (ranks played here, \\*shape), which collectives read and write.

    TypeError for anything but a tensor of this world, or a dtype that torch does not have; ValueError if it will be
    ``written`` and cannot be. ``name`` is the parameter's.
    """
    if group.engine is None:
        return shards_of(tensor, name)
    if not isinstance(tensor, np.ndarray):
        way_out = errors.NO_LOCAL_TENSORS if isinstance(tensor, LocalTensor) else f", got {type(tensor).__name__}"
        raise TypeError(errors.INVALID_ARGUMENT.format(name=name, wanted="numpy.ndarray") + way_out)
    if tensor.dtype.char not in _NUMBERS or not tensor.dtype.isnative:
        wanted = "numpy.ndarray of a dtype that torch has"
        raise TypeError(f"{errors.INVALID_ARGUMENT.format(name=name, wanted=wanted)}, got {tensor.dtype!r}")
    if written and not tensor.flags.writeable:
        raise ValueError(f"{name} is read-only; the result is written into it")
    return np.asarray(tensor)[np.newaxis]


def rows_of_list(group: ProcessGroup, tensors: object, name: str, *, written: bool = False) -> list[Array]:
    """``rows_of`` for each tensor of a list."""
    if not isinstance(tensors, list | tuple):
        wanted = "LocalTensor" if group.engine is None else "numpy.ndarray"
        raise TypeError(errors.INVALID_ARGUMENT.format(name=name, wanted=f"List[{wanted}]"))
    return [rows_of(group, tensor, name, written=written) for tensor in tensors]


def root_of(
    what: str, group: ProcessGroup, global_rank: int | None, group_rank: int | None, default: int | None = None
) -> int:
    """The root as a group rank, of the two ways that torch has to name it."""
    if global_rank is not None and group_rank is not None:
        raise ValueError(errors.TWO_ROOTS)
    if group_rank is None:
        global_rank = default if global_rank is None else global_rank
        if global_rank is None:
            raise ValueError(errors.NO_ROOT)
        group_rank = get_group_rank(group, global_rank)
    if not 0 <= group_rank < group.size():
        raise RuntimeError(f"{what}: invalid root rank: {group_rank}; the group has {group.size()} ranks")
    return group_rank


def begin(
    group: ProcessGroup,
    coroutine: Coroutine[Any, Any, Any],
    tensors: list[Any],
    async_op: bool = True,
    timeout: timedelta | None = None,
    members: Sequence[int] | None = None,
    moves: bool = True,
) -> Work | None:
    """Start a collective and wait for it; with ``async_op`` return its ``Work``, which will list ``tensors``.

    ``members`` are given for point to point, which barriers do not wait for. ``moves``: the work goes on while nobody
    waits for it; pass False if the caller waits at once.
    """
    if group.engine is None:
        run_alone(coroutine)
        return Work(tensors) if async_op else None
    timeout_s = (group.timeout if timeout is None else timeout).total_seconds()
    engine = group.engine
    if members is None:
        task = engine.start(coroutine, group.ranks, timeout_s, group.number)
    else:
        task = engine.start(coroutine, members, timeout_s)
    if async_op:
        if moves and not task.done:
            engine.keep_moving(task)
        return Work(tensors, task, engine)
    _wait(engine, task)
    return None


def finish(
    group: ProcessGroup,
    coroutine: Coroutine[Any, Any, Any],
    timeout: timedelta | None = None,
    members: Sequence[int] | None = None,
) -> Any:
    """Run a collective of a process that plays one rank to its end and return its result."""
    assert group.engine is not None
    timeout_s = (group.timeout if timeout is None else timeout).total_seconds()
    number = group.number if members is None else None
    task = group.engine.start(coroutine, group.ranks if members is None else members, timeout_s, number)
    _wait(group.engine, task)
    return task.result


def _wait(engine: Engine, task: Task) -> None:
    """Run ``task`` to its end and raise its error."""
    try:
        engine.wait(task)
    except BaseException:
        task.group = None  # a signal handler has raised: nobody can wait for this call any more, at the end neither
        raise
    if task.error:
        raise task.error
