"""The default group and the list of groups: the package's only module state.

In the virtual world this process plays every rank. So ``get_rank`` has no single answer; it is 0, the rank that speaks
(prints, writes files) in scripts that ask ``if rank == 0``. ``new_group`` never returns a non-member.

What this module does not do yet: processes that play one rank (rendezvous, stores, transports between processes).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from . import errors
from .group_arguments import (
    VirtualOptions,
    check_backend,
    check_device,
    check_options,
    check_ranks,
    check_timeout,
)
from .process_group import ProcessGroup
from .transports.virtual import VirtualTransport

default_pg_timeout: Final = timedelta(seconds=1800)
"""torch's. Nothing in the virtual world can be late."""


@dataclass(slots=True)
class _World:
    default: ProcessGroup | None = None
    groups: dict[str, ProcessGroup] = field(default_factory=dict)
    num_made: int = 0
    """Groups made so far: the next one's name, as in torch."""


_world = _World()


class _WithWorld(type):
    """torch reads ``group.WORLD`` from the class; it is None until there is a default group."""

    @property
    def WORLD(cls) -> ProcessGroup | None:
        return _world.default


class group(metaclass=_WithWorld):
    """Holds ``group.WORLD``, the default group or None."""


class GroupMember(metaclass=_WithWorld):
    """Holds ``GroupMember.WORLD`` and what a process outside of a new group gets instead of the group."""

    NON_GROUP_MEMBER: Final = -100


# -- making and ending ------------------------------------------------------------------------------------------------


def init_process_group(
    backend: str | None = None,
    init_method: str | None = None,
    timeout: timedelta | None = None,
    world_size: int = -1,
    rank: int = -1,
    store: Any | None = None,
    group_name: str = "",
    pg_options: VirtualOptions | None = None,
    device_id: Any | None = None,
    _ranks: list[int] | None = None,
) -> None:
    """Make the default group: for now a virtual one, with ``backend="virtual"`` (alias ``"fake"``) and ``world_size``.

    This process then plays all ``world_size`` ranks, and tensors are ``LocalTensor``. ``pg_options`` may be a
    ``VirtualOptions``. Errors: ValueError the second time, or when an argument has no meaning in the virtual world;
    NotImplementedError for torch's other backends; AssertionError for a backend that nobody knows.
    """
    if _world.default is not None:
        raise ValueError(errors.INITIALIZED_TWICE)
    backend = check_backend(backend)
    check_timeout(timeout)
    if rank not in (-1, 0):
        raise ValueError(errors.PROCESS_HAS_NO_RANK.format(rank=rank))
    check_device(device_id)
    for what, given in (("init_method", init_method), ("store", store), ("_ranks", _ranks)):
        if given is not None:
            raise ValueError(errors.NO_RENDEZVOUS.format(what=what))
    if world_size < 1:
        raise ValueError(errors.NO_WORLD_SIZE)
    options = check_options(pg_options)
    ranks = list(range(world_size))
    _world.default = _make_group(
        ranks, world_size, backend, options.ranks_per_node or world_size, timeout, group_name, "default_pg"
    )


def new_group(
    ranks: list[int] | None = None,
    timeout: timedelta | None = None,
    backend: str | None = None,
    pg_options: VirtualOptions | None = None,
    use_local_synchronization: bool = False,
    group_desc: str | None = None,
    device_id: Any | None = None,
    sort_ranks: bool = True,
) -> ProcessGroup:
    """A group of the global ``ranks`` (None: all), in rising order unless ``sort_ranks`` is False.

    Its collectives change the members' shards only. ``use_local_synchronization`` makes no difference: members and
    others are one process. Errors: ValueError for ranks outside the world or named twice; otherwise as
    ``init_process_group``.
    """
    world = default_group()
    check_timeout(timeout)
    if backend is not None:
        backend = check_backend(backend)
    check_device(device_id)
    if pg_options is not None:
        raise ValueError("nodes belong to the world: pass VirtualOptions to init_process_group, not to new_group")
    members = list(world.ranks) if ranks is None else check_ranks(list(ranks), world.size())
    return _make_group(
        sorted(members) if sort_ranks else members,
        world.size(),
        backend or world.backend,
        world.ranks_per_node,
        timeout,
        "",
        group_desc or "undefined",
    )


def destroy_process_group(group: ProcessGroup | None = None) -> None:
    """End ``group``, or with None (or the default group) all groups. AssertionError if there is none."""
    if group is None or group is _world.default:
        if _world.default is None:
            raise AssertionError(errors.NO_GROUP_TO_DESTROY)
        for member in _world.groups.values():
            member.close()
        _world.default, _world.groups, _world.num_made = None, {}, 0
        return
    found = find_group(group)
    found.close()
    del _world.groups[found.group_name]


def _make_group(
    ranks: list[int],
    world_size: int,
    backend: str,
    ranks_per_node: int,
    timeout: timedelta | None,
    group_name: str,
    group_desc: str,
) -> ProcessGroup:
    if not group_name:
        while (group_name := str(_world.num_made)) in _world.groups:
            _world.num_made += 1  # the user's group_name was a number
    made = ProcessGroup(
        ranks,
        VirtualTransport(ranks, ranks_per_node),
        played=range(len(ranks)),
        rows=ranks,
        num_local=world_size,
        group_name=group_name,
        group_desc=group_desc,
        backend=backend,
        ranks_per_node=ranks_per_node,
        timeout=default_pg_timeout if timeout is None else timeout,
    )
    _world.groups[made.group_name] = made
    _world.num_made += 1
    return made


# -- asking -----------------------------------------------------------------------------------------------------------


def default_group() -> ProcessGroup:
    """The default group; torch's ValueError before ``init_process_group``."""
    if _world.default is None:
        raise ValueError(errors.NOT_INITIALIZED)
    return _world.default


def find_group(group: ProcessGroup | str | None) -> ProcessGroup:
    """The open group that ``group`` means: itself, a group's name, or with None the default group. Else ValueError."""
    if group is None:
        return default_group()
    if isinstance(group, ProcessGroup) and group.is_open:
        return group
    default_group()
    if isinstance(group, str):
        if group not in _world.groups:
            raise ValueError(errors.UNKNOWN_GROUP_NAME.format(name=group))
        return _world.groups[group]
    if not isinstance(group, ProcessGroup):
        raise ValueError(errors.INVALID_GROUP)
    raise ValueError(errors.GROUP_NOT_REGISTERED.format(group=group))


def _is_non_member(group: object) -> bool:
    return isinstance(group, int) and group == GroupMember.NON_GROUP_MEMBER


def is_available() -> bool:
    """True."""
    return True


def is_initialized() -> bool:
    """Whether there is a default group."""
    return _world.default is not None


def get_rank(group: ProcessGroup | None = None) -> int:
    """Rank of this process in ``group``: 0 in the virtual world, for the rank that speaks; -1 for a non-member."""
    default_group()
    return -1 if _is_non_member(group) else find_group(group).rank()


def get_world_size(group: ProcessGroup | None = None) -> int:
    """Number of ranks in ``group``; -1 for a non-member."""
    default_group()
    return -1 if _is_non_member(group) else find_group(group).size()


def get_backend(group: ProcessGroup | None = None) -> str:
    """Name of the backend, in small letters, as it was given."""
    return find_group(group).backend


def get_process_group_ranks(group: ProcessGroup | None) -> list[int]:
    """Global ranks of the members, in group order."""
    return list(find_group(group).ranks)


def get_group_rank(group: ProcessGroup, global_rank: int) -> int:
    """The group rank of ``global_rank``. ValueError if it is no member; the default group does not check, as torch."""
    found = find_group(group)
    if found is _world.default:
        return global_rank
    if global_rank not in found.ranks:
        raise ValueError(errors.RANK_NOT_IN_GROUP.format(rank=global_rank, group=found))
    return found.ranks.index(global_rank)


def get_global_rank(group: ProcessGroup, group_rank: int) -> int:
    """The global rank of ``group_rank``. ValueError if there is none; the default group does not check, as torch."""
    found = find_group(group)
    if found is _world.default:
        return group_rank
    if not 0 <= group_rank < found.size():
        raise ValueError(f"Group rank {group_rank} is not part of group {found}")
    return found.ranks[group_rank]
