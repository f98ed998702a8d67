"""The world: ``init_process_group`` and ``destroy_process_group``.

With torch's backends, "gloo" and "nccl" meaning the same here, this process plays one rank and meets the others; in the
virtual world it plays all of them, and with "fake" one, alone.

What this module does not do: groups of part of the world (``groups``), meeting (``meeting.handlers``,
``meeting.exchange``).
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from fake_torch_dist import errors
from fake_torch_dist.api.exit_hooks import FLUSH_S, RankedExceptions, hook_up, warn_of_forgotten_destroy
from fake_torch_dist.api.group_arguments import (
    DRY_RUN,
    check_backend,
    check_device,
    check_options,
    default_timeout,
    is_virtual,
)
from fake_torch_dist.api.registry import LOCAL_NUMBERS, find_group, is_non_member, make_group, world
from fake_torch_dist.core.argument_kinds import text, whole_number
from fake_torch_dist.core.checks import check_timeout
from fake_torch_dist.core.process_group import ProcessGroup
from fake_torch_dist.launcher.environment_names import RANKS_PER_PROCESS
from fake_torch_dist.transports.virtual import VirtualGroups

if TYPE_CHECKING:
    from fake_torch_dist.stores.base import Store

default_pg_timeout: Final = timedelta(seconds=1800)
"""torch's. Nothing in the virtual world can be late."""


def init_process_group(
    backend: str | None = None,
    init_method: str | None = None,
    timeout: timedelta | None = None,
    world_size: int = -1,
    rank: int = -1,
    store: Any | None = None,
    group_name: str = "",
    pg_options: Any | None = None,
    device_id: Any | None = None,
    _ranks: list[int] | None = None,
) -> None:
    """Make the default group and meet the other ranks.

    ``backend`` "gloo", "nccl", "cpu:gloo,cuda:nccl" or None: this process plays one rank and tensors are ndarrays. The
    ranks meet by ``init_method`` (env://, tcp://host:port, file:///path) or a ``store``. Default timeout: 10 minutes
    for nccl, 30 otherwise. "virtual": this process plays all ``world_size`` ranks, tensors are ``LocalTensor``, and
    ``pg_options`` may be a ``VirtualOptions``; it means nothing to the other backends. "fake", as torch's: this process
    plays rank ``rank`` of ``world_size``, nothing is sent, and there is no other rank to meet (``transports.dry_run``).

    Errors: ValueError the second time, for missing or wrong environment variables, or when an argument has no meaning
    in the virtual world; AssertionError for an unknown backend, RuntimeError for one of torch that this package does
    not have; DistStoreError naming the ranks that do not come within ``timeout``; DistNetworkError if there is no
    store.
    """
    if world.default is not None:
        raise ValueError(errors.INITIALIZED_TWICE)
    backend = check_backend(backend)
    check_timeout(timeout)
    rank, world_size = whole_number("rank", rank), whole_number("world_size", world_size)
    text("group_name", group_name)
    if is_virtual(backend):
        _check_virtual(rank, init_method, store, _ranks, world_size, device_id)
        options = check_options(pg_options)
        world.factory = VirtualGroups(world_size)
        world.default = make_group(
            range(world_size),
            backend,
            timeout,
            ranks_per_node=options.ranks_per_node or world_size,
            group_name=group_name,
            group_desc="default_pg",
        )
    elif backend == DRY_RUN:
        _init_dry_run(timeout, world_size, rank, store, group_name)
    else:
        limit = default_timeout(backend) if timeout is None else timeout
        _init_processes(backend, init_method, limit, world_size, rank, store, group_name)


def _check_virtual(
    rank: int, init_method: object, store: object, ranks: object, world_size: int, device_id: object
) -> None:
    if rank not in (-1, 0):
        raise ValueError(errors.PROCESS_HAS_NO_RANK.format(rank=rank))
    check_device(device_id)
    for what, given in (("init_method", init_method), ("store", store), ("_ranks", ranks)):
        if given is not None:
            raise ValueError(errors.NO_RENDEZVOUS.format(what=what))
    if world_size < 1:
        raise ValueError(errors.NO_WORLD_SIZE)


def _init_dry_run(timeout: timedelta | None, world_size: int, rank: int, store: Store | None, group_name: str) -> None:
    """Make the world of a dry run."""
    from fake_torch_dist.transports.dry_run import DryRunGroups

    if not 0 <= rank < world_size:
        raise RuntimeError(errors.NO_SUCH_RANK.format(rank=rank, size=world_size))
    world.store, world.factory = store, DryRunGroups(rank)
    world.default = make_group(
        range(world_size),
        DRY_RUN,
        timeout,
        ranks_per_node=world_size,
        group_name=group_name,
        group_desc="default_pg",
    )


def _init_processes(
    backend: str,
    init_method: str | None,
    timeout: timedelta,
    world_size: int,
    rank: int,
    store: Store | None,
    group_name: str,
) -> None:
    """Meet the other processes and make their world."""
    from fake_torch_dist.meeting.exchange import meet
    from fake_torch_dist.meeting.handlers import find_store
    from fake_torch_dist.meeting.torch_board import delete_addresses
    from fake_torch_dist.transports.process_groups import ProcessGroups

    if os.environ.get(RANKS_PER_PROCESS):
        from fake_torch_dist.api.one_rank_a_process import refuse_several_ranks

        refuse_several_ranks(max(rank, 0) or int(os.environ.get("RANK") or 0))
    found, rank, world_size = find_store(init_method, rank, world_size, store, timeout)
    meeting = meet(found, rank, world_size, timeout)
    delete_addresses()
    world.store, world.factory = meeting.store, ProcessGroups(meeting.engine, reads_memory=meeting.reads_memory)
    world.default = make_group(
        range(world_size),
        backend,
        timeout,
        ranks_per_node=meeting.ranks_per_node,
        group_name=group_name,
        group_desc="default_pg",
    )
    if "nccl" in backend:
        from fake_torch_dist.nccl import log as nccl_log

        contacts = meeting.engine.peers.contacts
        nccl_log.print_lines(rank, world_size, meeting.ranks_per_node, name=contacts[0].unix)
    world.excepthook = RankedExceptions(rank)
    hook_up(in_child=_reset, at_exit=_end_at_exit)


def destroy_process_group(group: ProcessGroup | None = None) -> None:
    """End ``group``, or with None (or the default group) all groups. AssertionError if there is none.

    Ends the process's part only: it waits for the collectives that it has begun and sends what is unsent. Ranks that
    wait for it later get PeerGoneError. Work that fails meanwhile, and receives that have not received, raise
    DistBackendError when they are waited for.
    """
    if group is not None and is_non_member(group):
        return
    if group is None or group is world.default:
        if world.default is None:
            raise AssertionError(errors.NO_GROUP_TO_DESTROY)
        if world.factory is not None:
            world.factory.runner.settle()
        _leave_world()
        return
    found = find_group(group)
    found.close()
    del world.groups[found.group_name]


def _leave_world() -> None:
    """Send what is unsent, close the connections, and reset the state."""
    if world.factory is not None:
        world.factory.runner.flush(FLUSH_S)
        world.factory.runner.close()
    _reset(close=False)


def _reset(close: bool = True) -> None:
    """Reset the state. ``close``: in a forked child, also close its copies of the parent's connections."""
    for member in world.groups.values():
        member.close()
    if close and world.factory is not None:
        world.factory.runner.close_in_child()
    if world.excepthook is not None:
        world.excepthook.remove()
    world.default, world.groups, world.next_number = None, {}, 0
    world.next_local_number, world.local_meetings = LOCAL_NUMBERS, {}
    world.factory, world.store, world.excepthook = None, None, None


def _end_at_exit() -> None:
    if world.default is not None:
        warn_of_forgotten_destroy(world.default.rank(), world.default.backend)
        _leave_world()
