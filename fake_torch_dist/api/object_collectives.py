"""torch's collectives of Python objects.

Objects are pickled, as torch does, so a receiver gets its own copy and an unpicklable object raises pickle's own error
before anything is sent. Pickles come only from members of the group: processes of this user, or holders of the token.

In the virtual world one object stands for all ranks'; a ``LocalTensor`` in it differs between ranks, and entry k
has rank k's shard of it. Results that differ in another way are refused there. ``device`` changes nothing between
processes and must be None in the virtual world.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any, Final

from fake_torch_dist import errors
from fake_torch_dist.api.call import member_group, root_of
from fake_torch_dist.api.group_arguments import check_device
from fake_torch_dist.api.point_to_point import peer_named
from fake_torch_dist.api.registry import find_group, get_rank, is_non_member, plays_all_ranks
from fake_torch_dist.core.argument_kinds import listed
from fake_torch_dist.core.fingerprint import Call
from fake_torch_dist.core.process_group import ProcessGroup
from fake_torch_dist.core.sending import receive_and_wait, send_and_wait
from fake_torch_dist.core.work import finish

_OBJECTS: Final = "objects"


def all_gather_object(object_list: list[Any], obj: Any, group: ProcessGroup | None = None) -> None:
    """Fill ``object_list[k]`` with a copy of group rank k's ``obj``.

    Errors: IndexError, before anything is sent, if the list is too short; whatever pickle raises.
    """
    found = member_group("all_gather_object", group)
    if found is None:
        return
    if len(listed("object_list", object_list, written=True)) < found.size():
        raise IndexError(f"object_list has {len(object_list)} entries for {found.size()} ranks")
    transport = found.transport
    packed = finish(found, transport.all_gather_packed(transport.pack(obj), transport.label("ALLGATHER_OBJECT")))
    object_list[: found.size()] = _unpacked(found, packed)


def gather_object(
    obj: Any,
    object_gather_list: list[Any] | None = None,
    dst: int | None = None,
    group: ProcessGroup | None = None,
    group_dst: int | None = None,
) -> None:
    """Fill ``dst``'s ``object_gather_list[k]`` with a copy of group rank k's ``obj``. Default root: global rank 0.

    Errors: ValueError if the destination brings no list, or another rank brings one; IndexError if it is too short.
    """
    found = member_group("gather_object", group)
    if found is None:
        return
    root = root_of("gather_object", found, dst, group_dst, default=0)
    entries = 0
    if object_gather_list is not None:
        entries = len(listed("object_gather_list", object_gather_list, written=True))
    if root in found.played and not entries:
        raise ValueError(errors.GATHER_LIST_MISSING)
    if root not in found.played and entries:
        raise ValueError(errors.GATHER_LIST_UNWANTED)
    if entries and entries < found.size():
        raise IndexError(f"object_gather_list has {entries} entries for {found.size()} ranks")
    transport = found.transport
    call = Call("GATHER_OBJECT", "", (), f"root={root}")
    packed = finish(found, transport.gather_packed(transport.pack(obj), root, call))
    if object_gather_list is not None and entries:
        object_gather_list[: found.size()] = _unpacked(found, packed)


def broadcast_object_list(
    object_list: list[Any],
    src: int | None = None,
    group: ProcessGroup | None = None,
    device: Any | None = None,
    group_src: int | None = None,
) -> None:
    """Replace the entries of ``object_list`` by copies of ``src``'s. Without a root it is global rank 0.

    MismatchError on all ranks if the lists differ in length. In the virtual world one list stands for all ranks', so
    the world is the only group there: ValueError for a smaller one, whose members would end with other objects than
    the rest.
    """
    found = member_group("broadcast_object_list", group)
    if found is None:
        return
    root = root_of("broadcast_object_list", found, src, group_src, default=0)
    listed("object_list", object_list, written=any(member != root for member in found.played))
    if plays_all_ranks():
        check_device(device, "device")
    if len(found.played) != found.num_local:
        raise ValueError("broadcast_object_list in a group smaller than the world: one list cannot hold both outcomes")
    transport = found.transport
    data = transport.pack(list(object_list)) if root in found.played else None
    call = Call("BROADCAST_OBJECT_LIST", "", (len(object_list),), f"root={root}")
    packed = finish(found, transport.broadcast_packed(data, root, call))
    if any(member != root for member in found.played):
        object_list[:] = transport.unpack(packed, found.ranks[root])


def scatter_object_list(
    scatter_object_output_list: list[Any],
    scatter_object_input_list: list[Any] | None = None,
    src: int | None = None,
    group: ProcessGroup | None = None,
    group_src: int | None = None,
) -> None:
    """Put a copy of ``src``'s ``scatter_object_input_list[k]`` into group rank k's ``scatter_object_output_list[0]``.

    Without a root it is global rank 0. Errors: ValueError for an output list without an entry, a source without a
    list of one object per rank, and in the virtual world, where one list cannot hold every rank's object.
    """
    found = member_group("scatter_object_list", group)
    if found is None:
        return
    if not isinstance(scatter_object_output_list, list) or not scatter_object_output_list:
        raise ValueError(errors.NO_SCATTER_OUTPUT)
    root = root_of("scatter_object_list", found, src, group_src, default=0)
    if found.num_local > 1:
        raise ValueError("scatter_object_list in the virtual world: one list cannot hold every rank's object")
    transport, parts = found.transport, []
    if root in found.played:
        given = (
            [] if scatter_object_input_list is None else listed("scatter_object_input_list", scatter_object_input_list)
        )
        if len(given) != found.size():
            raise ValueError(f"scatter_object_input_list has {len(given)} entries for {found.size()} ranks")
        parts = [transport.pack(entry) for entry in given]
    call = Call("SCATTER_OBJECT_LIST", "", (), f"root={root}")
    packed = finish(found, transport.scatter_packed(parts, root, call))
    scatter_object_output_list[0] = transport.unpack(packed, found.global_rank())


def send_object_list(
    object_list: list[Any],
    dst: int | None = None,
    group: ProcessGroup | None = None,
    device: Any | None = None,
    group_dst: int | None = None,
    use_batch: bool = False,
) -> None:
    """Send the objects to ``dst`` in one message; ``use_batch`` changes nothing. Errors as ``send``, and pickle's."""
    found = _own_group(group)
    to = peer_named("destination", found, dst, group_dst)
    listed("object_list", object_list)
    send_and_wait(found, to, f"{_OBJECTS} ({len(object_list)},)", pickle.dumps(list(object_list)))


def recv_object_list(
    object_list: list[Any],
    src: int | None = None,
    group: ProcessGroup | None = None,
    device: Any | None = None,
    group_src: int | None = None,
    use_batch: bool = False,
) -> int:
    """Fill ``object_list`` with a message's objects and return its sender's global rank.

    Errors: as ``recv``, and ValueError, torch's, outside of the group; MismatchError for a message that is a tensor,
    or that has another number of objects.
    """
    found = _own_group(group)
    source = peer_named("source", found, src, group_src)
    listed("object_list", object_list, written=True)
    received = receive_and_wait(found, source)
    if received is None:
        raise errors.DistBackendError(errors.NO_OBJECTS_COME.format(rank=source))
    if received.label != f"{_OBJECTS} ({len(object_list)},)":
        dtype, _, shape = received.label.partition(" ")
        raise errors.MismatchError(
            f"rank {received.source} sent {dtype} of shape {shape}, but rank {get_rank()} receives "
            f"{_OBJECTS} of shape ({len(object_list)},)"
        )
    object_list[:] = pickle.loads(received.data)
    return received.source


def _own_group(group: ProcessGroup | None) -> ProcessGroup:
    """The group, of which this process must be a member: where torch raises instead of warning."""
    if group is not None and is_non_member(group):
        raise ValueError(errors.INVALID_GROUP)
    return find_group(group)


def _unpacked(group: ProcessGroup, packed: Sequence[Any]) -> list[Any]:
    """A copy of each member's object, in group order."""
    return [group.transport.unpack(part, rank) for part, rank in zip(packed, group.ranks, strict=True)]
