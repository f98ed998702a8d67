"""Process groups of a device mesh: one for every line along a dimension, of the backend that the caller may choose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, TypeAlias

from fake_torch_dist.api.groups import new_group
from fake_torch_dist.api.registry import default_group
from fake_torch_dist.core.argument_kinds import wrong_kind

Override: TypeAlias = tuple[str | None, Any]
"""A backend's name and options for one dimension; None: as the default group."""

NO_OVERRIDE: Override = (None, None)


def groups_of_lines(lines: Sequence[list[int]], name: str, override: Override = NO_OVERRIDE) -> list[Any]:
    """A group of each of ``lines`` of global ranks; NON_GROUP_MEMBER where this process is in none.

    The default group serves for a line of the whole world in its order, unless a backend is chosen for it.
    """
    world = default_group()
    backend, options = override
    if list(lines) == [list(world.ranks)] and override == NO_OVERRIDE:
        return [world]
    return [
        new_group(
            line,
            timeout=getattr(options, "_timeout", None),
            backend=backend,
            pg_options=options,
            group_desc=f"mesh_{name}",
            sort_ranks=False,
        )
        for line in lines
    ]


def overrides_of(given: Mapping[Any, Any] | None, ndim: int, names: Sequence[str] | None = None) -> list[Override]:
    """torch's ``backend_override`` as one entry per dimension. Keys are indices or names of dimensions.

    RuntimeError, torch's, for a dimension that is named twice and for keys that are no dimension's.
    """
    if not isinstance(given, Mapping | None):
        raise wrong_kind("backend_override", "dict of dimensions and backends", given)
    left = dict(given or {})
    found = list(_overrides(left, ndim, names or ()))
    if left:
        raise RuntimeError(
            f"Found invalid keys in backend_override: got {list(left)}, expected integers in range [0, {ndim}) or one "
            f"of {tuple(names or ())}"
        )
    return found


def _overrides(left: dict[Any, Any], ndim: int, names: Sequence[str]) -> Iterator[Override]:
    for index, name in zip_longest(range(ndim), names):
        if name in left and index in left:
            raise RuntimeError(f"Found redundant dim index {index} and name {name} in backend_override")
        value = left.pop(name, None) if name in left else left.pop(index, None)
        if isinstance(value, str):
            yield value, None
        elif isinstance(value, tuple):
            yield value
        else:
            yield None, value
