"""The world and the groups of this process, as module state, and the functions that scripts query them with.

In the virtual world this process plays every rank. So ``get_rank`` has no single answer; it is 0, the rank that
prints and writes files in scripts that test ``if rank == 0``.

What this module does not do: decide which groups there are (``world``, ``groups``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from fake_torch_dist import errors
from fake_torch_dist.api.exit_hooks import RankedExceptions
from fake_torch_dist.api.group_arguments import DRY_RUN, default_timeout, is_virtual
from fake_torch_dist.core.group_members import GroupLabels
from fake_torch_dist.core.process_group import ProcessGroup

if TYPE_CHECKING:
    from fake_torch_dist.core.group_factory import GroupFactory
    from fake_torch_dist.stores.base import Store

LOCAL_NUMBERS: Final = 1 << 30
"""First number of groups that only their members have made; it leaves the other numbers as they are."""


@dataclass(slots=True)
class World:
    """The state of this process: its default group, its groups, and how new ones are numbered."""

    default: ProcessGroup | None = None
    groups: dict[str, ProcessGroup] = field(default_factory=dict)
    next_number: int = 0
    """The lowest number that no group of this process has had; it is the group's name, too, as in torch."""
    next_local_number: int = LOCAL_NUMBERS
    """The same for groups that only their members have made."""
    local_meetings: dict[tuple[int, ...], int] = field(default_factory=dict)
    """Number of such groups that the same ranks have made, by their ranks."""
    factory: GroupFactory | None = None
    """Makes the groups of this world; None before ``init_process_group``."""
    store: Store | None = None
    """The store in which the ranks met, kept because others may still need its server."""
    excepthook: RankedExceptions | None = None


world = World()


class _WithWorld(type):
    """torch reads ``group.WORLD`` from the class; it is None until there is a default group."""

    @property
    def WORLD(cls) -> ProcessGroup | None:
        return world.default


class group(metaclass=_WithWorld):
    """Holds ``group.WORLD``, the default group or None."""


class GroupMember(metaclass=_WithWorld):
    """Holds ``GroupMember.WORLD`` and the value that a process outside of a new group gets instead of the group."""

    NON_GROUP_MEMBER: Final = -100


def make_group(
    ranks: Sequence[int],
    backend: str,
    timeout: timedelta | None,
    *,
    ranks_per_node: int,
    group_name: str = "",
    group_desc: str = "undefined",
    number: int | None = None,
) -> ProcessGroup:
    """Make a group of global ``ranks`` that this process plays a member of, and enter it in the list.

    ``number`` is the group's in messages, which its members have agreed on; None: the next one.
    """
    number = next_number() if number is None else number
    use_number(number)
    if not group_name:
        group_name = str(number) if number < LOCAL_NUMBERS else f"local_{number - LOCAL_NUMBERS}"
        while group_name in world.groups:  # the user's group_name was a number
            group_name += "_"
    factory = factory_of(backend)
    limit = default_timeout(backend) if timeout is None else timeout
    labels = GroupLabels(group_name, group_desc, backend, limit, world.store)
    made = world.groups[group_name] = factory.group(ranks, number, ranks_per_node, labels)
    return made


def factory_of(backend: str) -> GroupFactory:
    """The factory of this world's groups of a backend. ValueError for backend "fake" in the virtual world."""
    assert world.factory is not None
    return world.factory.dry_run() if backend == DRY_RUN else world.factory


def next_number() -> int:
    """The lowest number that no group of this process has had, as number or as name."""
    while str(world.next_number) in world.groups:
        world.next_number += 1  # the user's group_name was a number
    return world.next_number


def use_number(number: int) -> None:
    """Note that a group has this number; lower ones are not used any more."""
    if number >= LOCAL_NUMBERS:
        world.next_local_number = number + 1
    else:
        world.next_number = number + 1


# -- queries -----------------------------------------------------------------------------------------------------------


def default_group() -> ProcessGroup:
    """The default group; torch's ValueError before ``init_process_group``."""
    if world.default is None:
        raise ValueError(errors.NOT_INITIALIZED)
    return world.default


def find_group(group: ProcessGroup | str | None) -> ProcessGroup:
    """The open group that ``group`` means: itself, a group's name, or with None the default group. Else ValueError."""
    if group is None:
        return world.default or default_group()
    if isinstance(group, ProcessGroup) and group.is_open:
        return group
    default_group()
    if isinstance(group, str):
        if group not in world.groups:
            raise ValueError(errors.UNKNOWN_GROUP_NAME.format(name=group))
        return world.groups[group]
    if not isinstance(group, ProcessGroup):
        raise ValueError(errors.INVALID_GROUP)
    raise ValueError(errors.GROUP_NOT_REGISTERED.format(group=group))


def plays_all_ranks() -> bool:
    """True in the virtual world, where some arguments have no meaning."""
    return is_virtual(default_group().backend)


def is_non_member(group: object) -> bool:
    """True for the value that a process outside of a new group got."""
    return isinstance(group, int) and group == GroupMember.NON_GROUP_MEMBER


def is_available() -> bool:
    """True."""
    return True


def is_initialized() -> bool:
    """True after ``init_process_group``."""
    return world.default is not None


def get_pg_count() -> int:
    """Number of groups, the default one included."""
    return len(world.groups)


def get_rank(group: ProcessGroup | None = None) -> int:
    """Rank of this process in ``group``: 0 in the virtual world; -1 for a non-member."""
    default_group()
    return -1 if is_non_member(group) else find_group(group).rank()


def get_world_size(group: ProcessGroup | None = None) -> int:
    """Number of ranks in ``group``; -1 for a non-member."""
    default_group()
    return -1 if is_non_member(group) else find_group(group).size()


def get_process_group_ranks(group: ProcessGroup | None) -> list[int]:
    """Global ranks of the members, in group order."""
    return list(find_group(group).ranks)


def get_group_rank(group: ProcessGroup, global_rank: int) -> int:
    """The group rank of ``global_rank``. ValueError if it is no member; the default group does not check, as torch."""
    found = find_group(group)
    if found is world.default:
        return global_rank
    if global_rank not in found.ranks:
        raise ValueError(errors.RANK_NOT_IN_GROUP.format(rank=global_rank, group=found))
    return found.ranks.index(global_rank)


def get_global_rank(group: ProcessGroup, group_rank: int) -> int:
    """The global rank of ``group_rank``. ValueError if there is none; the default group does not check, as torch."""
    found = find_group(group)
    if found is world.default:
        return group_rank
    if not 0 <= group_rank < found.size():
        raise ValueError(f"Group rank {group_rank} is not part of group {found}")
    return found.ranks[group_rank]
