"""Groups of part of the world: ``new_group``, ``new_subgroups`` and their relatives.

Every process of the world calls them, members or not, and in the same order; between processes that is checked: each
call is a round of the world in which all compare the group that they are about to make and agree on its number. A
process that will not be a member gets ``GroupMember.NON_GROUP_MEMBER``. Groups that only their members make, or only
the members of a group that is split, are unknown to other processes: their number is the highest of the numbers that
are free for one of the processes that take part.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from fake_torch_dist import errors
from fake_torch_dist.api.group_arguments import DRY_RUN, check_backend, check_device, check_ranks
from fake_torch_dist.api.registry import (
    GroupMember,
    default_group,
    factory_of,
    find_group,
    is_non_member,
    make_group,
    next_number,
    plays_all_ranks,
    use_number,
    world,
)
from fake_torch_dist.core.argument_kinds import is_set, lists_of_numbers, text, whole_number
from fake_torch_dist.core.checks import check_timeout
from fake_torch_dist.core.fingerprint import Call
from fake_torch_dist.core.process_group import ProcessGroup
from fake_torch_dist.core.work import finish


def new_group(
    ranks: list[int] | None = None,
    timeout: timedelta | None = None,
    backend: str | None = None,
    pg_options: Any | None = None,
    use_local_synchronization: bool = False,
    group_desc: str | None = None,
    device_id: Any | None = None,
    sort_ranks: bool = True,
) -> Any:
    """A group of the global ``ranks`` (None: all), in rising order unless ``sort_ranks`` is False.

    Its collectives change the members' shards only. Returns ``GroupMember.NON_GROUP_MEMBER`` where this process is
    none. With ``use_local_synchronization`` only members need to call, and another process gets None. Errors:
    ValueError for ranks outside the world or named twice, MismatchError if the processes name different ranks;
    otherwise as ``init_process_group``.
    """
    default = default_group()
    check_timeout(timeout)
    if backend is not None:
        backend = check_backend(backend)
        if default.backend == DRY_RUN != backend:
            raise ValueError(errors.ONLY_DRY_RUNS.format(backend=backend))
    if plays_all_ranks():
        check_device(device_id)
        if pg_options is not None:
            raise ValueError("nodes belong to the world: pass VirtualOptions to init_process_group, not to new_group")
    members = list(default.ranks) if ranks is None else check_ranks(ranks, default.size())
    members = sorted(members) if sort_ranks else members
    local = is_set("use_local_synchronization", use_local_synchronization)
    return _form(default, members, backend, timeout, group_desc, local=local)


def _form(
    called_by: ProcessGroup,
    ranks: Sequence[int],
    backend: str | None,
    timeout: timedelta | None,
    group_desc: str | None,
    *,
    local: bool = False,
) -> Any:
    """Make the group ``ranks`` when every process of ``called_by`` (with ``local`` of ``ranks``) is about to."""
    default = default_group()
    if group_desc is not None:
        text("group_desc", group_desc)
    if local and not plays_all_ranks():
        if default.global_rank() not in ranks:
            return None
        number = _local_number(default, ranks, timeout)
    else:
        number = _number(called_by, ranks)
        if not factory_of(default.backend).plays_any(ranks):
            use_number(number)
            return GroupMember.NON_GROUP_MEMBER
    return make_group(
        ranks,
        backend or default.backend,
        timeout or (default.timeout if backend is None else None),
        ranks_per_node=default.ranks_per_node,
        group_desc=group_desc or "undefined",
        number=number,
    )


def _number(called_by: ProcessGroup, ranks: Sequence[int]) -> int:
    """The new group's number, on which the members of ``called_by`` agree."""
    number: int = finish(called_by, called_by.transport.highest(next_number(), Call("NEW_GROUP", "", tuple(ranks))))
    return number


def _local_number(default: ProcessGroup, ranks: Sequence[int], timeout: timedelta | None) -> int:
    """The new group's number, on which ``ranks`` alone agree.

    They meet under a number that follows from their ranks and from how often these ranks have met so.
    """
    count = world.local_meetings[tuple(ranks)] = world.local_meetings.get(tuple(ranks), 0) + 1
    place = 1 << 31 | zlib.crc32(f"{list(ranks)}/{count}".encode()) & 0x7FFFFFFF
    transport = factory_of(default.backend).transport(ranks, place, default.ranks_per_node)
    call = Call("NEW_GROUP", "", tuple(ranks))
    number: int = finish(default, transport.highest(world.next_local_number, call), timeout, members=ranks)
    return number


def new_subgroups(
    group_size: int | None = None,
    group: ProcessGroup | None = None,
    timeout: timedelta | None = None,
    backend: str | None = None,
    pg_options: Any | None = None,
    group_desc: str | None = None,
) -> tuple[Any, list[Any]]:
    """Cut the world into groups of ``group_size`` neighbours; returns this process's and the list of all.

    Cuts ``group`` instead if that is given, and only its members call. In the virtual world "this process's" is the
    first. Errors: ValueError if the sizes don't fit, or without a size.
    """
    whole = default_group() if group is None else find_group(group)
    size = whole.size()
    if group_size is None:
        raise ValueError(errors.NO_GROUP_SIZE)
    group_size = whole_number("group_size", group_size)
    if group_size <= 0:
        raise ValueError(f"The arg 'group_size' ({group_size}) must be positive")
    if size < group_size:
        raise ValueError(f"The arg 'group_size' ({group_size}) must not exceed the world size ({size})")
    if size % group_size:
        raise ValueError(f"The world size ({size}) must be divisible by '{group_size=}'")
    lists = [list(whole.ranks[first : first + group_size]) for first in range(0, size, group_size)]
    if whole is default_group() or plays_all_ranks():
        return _enumerated(lists, timeout, backend, pg_options, group_desc)
    check_timeout(timeout)
    name = None if backend is None else check_backend(backend)
    groups = [_form(whole, each, name, timeout, group_desc) for each in lists]
    return _mine_of(groups), groups


def new_subgroups_by_enumeration(
    ranks_per_subgroup_list: list[list[int]],
    timeout: timedelta | None = None,
    backend: str | None = None,
    pg_options: Any | None = None,
    group_desc: str | None = None,
) -> tuple[Any, list[Any]]:
    """Make the groups that are listed, none sharing a rank; returns this process's (or None) and the list of all."""
    lists = lists_of_numbers("ranks_per_subgroup_list", ranks_per_subgroup_list)
    if not lists:
        raise ValueError("The arg 'ranks_per_subgroup_list' cannot be empty")
    seen: dict[int, list[int]] = {}
    for ranks in lists:
        for rank in ranks:
            if rank in seen:
                raise ValueError(f"Rank {rank} has appeared in both subgroup {seen[rank]} and {ranks}")
            seen[rank] = ranks
    return _enumerated(lists, timeout, backend, pg_options, group_desc)


def _enumerated(
    lists: Sequence[list[int]],
    timeout: timedelta | None,
    backend: str | None,
    pg_options: Any | None,
    group_desc: str | None,
) -> tuple[Any, list[Any]]:
    groups = [
        new_group(ranks, timeout=timeout, backend=backend, pg_options=pg_options, group_desc=group_desc)
        for ranks in lists
    ]
    return _mine_of(groups), groups


def _mine_of(groups: Sequence[Any]) -> Any:
    return next((made for made in groups if not is_non_member(made)), None)


def split_group(
    parent_pg: ProcessGroup | None = None,
    split_ranks: list[list[int]] | None = None,
    timeout: timedelta | None = None,
    pg_options: Any | None = None,
    group_desc: str | None = None,
    backend: str | None = None,
) -> ProcessGroup | None:
    """Split ``parent_pg``, whose members all call, into groups of group ranks; returns this process's, or None.

    torch needs a device for it; here it is a way to make groups that only the parent's members take part in. In the
    virtual world the first group is returned. Errors: ValueError for an empty list or shared ranks, ``new_group``'s.
    """
    lists = [] if split_ranks is None else lists_of_numbers("split_ranks", split_ranks)
    if not lists:
        raise ValueError("split_ranks cannot be None or empty")
    parent = find_group(parent_pg)
    check_timeout(timeout)
    flat = [rank for ranks in lists for rank in ranks]
    if len(set(flat)) != len(flat):
        raise ValueError(errors.SHARED_RANKS.format(ranks=lists))
    if max(flat, default=0) >= parent.size():
        raise ValueError(errors.RANK_OUT_OF_RANGE.format(rank=max(flat), last=parent.size() - 1, size=parent.size()))
    mine: ProcessGroup | None = None
    for ranks in lists:
        members = [parent.ranks[rank] for rank in sorted(ranks)]
        name = None if backend is None else check_backend(backend)
        made = _form(parent, members, name, timeout, group_desc)
        if mine is None and not is_non_member(made):
            mine = made
    return mine


def shrink_group(
    ranks_to_exclude: list[int],
    group: ProcessGroup | None = None,
    shrink_flags: int = 0,
    pg_options: Any | None = None,
) -> ProcessGroup:
    """Raise TypeError, torch's: it shrinks NCCL groups only."""
    found = find_group(group)
    raise TypeError(f"Process group backend for {found.group_name!r} does not support shrinking operations.")
