"""Messages from one rank to another: send, recv, their asynchronous forms, and batches of them.

A message is found by its sender, its group and its tag; those of one tag keep their order. ``send`` does not wait for
the receiver's ``recv``: it returns when the kernel has the message. The kernel holds a small one; a large one is read
by the receiver's process, in any call of this package.

What this module does not do: the virtual world, where one process plays sender and receiver, and strided arrays, which
torch refuses, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from fake_torch_dist import errors
from fake_torch_dist.api.call import member_group, rows_of
from fake_torch_dist.api.registry import find_group, get_global_rank, get_group_rank, get_rank, is_non_member
from fake_torch_dist.core.process_group import ProcessGroup
from fake_torch_dist.core.sending import begin_receive, begin_send, peer_of, receive_array, send_array
from fake_torch_dist.core.transport import ANY_SOURCE
from fake_torch_dist.core.work import Tensor, Work


def send(
    tensor: Tensor,
    dst: int | None = None,
    group: ProcessGroup | None = None,
    tag: int = 0,
    group_dst: int | None = None,
) -> None:
    """Send ``tensor`` to global rank ``dst`` (or group rank ``group_dst``).

    Errors: as ``isend``, PeerGoneError, TimedOutError; ValueError, torch's, outside of the group.
    """
    if group is not None and is_non_member(group):
        raise ValueError(errors.INVALID_GROUP)
    found = find_group(group)
    send_array(found, tensor, peer_named("destination", found, dst, group_dst), tag)


def isend(
    tensor: Tensor,
    dst: int | None = None,
    group: ProcessGroup | None = None,
    tag: int = 0,
    group_dst: int | None = None,
) -> Work | None:
    """Begin to send; ``tensor`` must stay as it is until the work is done. None for a process outside of the group.

    Errors: ValueError for no destination, two, this rank itself or one that is not there; RuntimeError for an array
    that is not contiguous.
    """
    found = member_group("isend", group)
    if found is None:
        return None
    return begin_send(found, tensor, peer_named("destination", found, dst, group_dst), tag)


def recv(
    tensor: Tensor,
    src: int | None = None,
    group: ProcessGroup | None = None,
    tag: int = 0,
    group_src: int | None = None,
) -> int:
    """Fill ``tensor`` with a message and return its sender's global rank. Without a source: the first message of any
    member.

    Errors: as ``irecv``; MismatchError for a message of another dtype or number of elements, which is lost.
    """
    found = member_group("irecv", group)
    if found is None:
        return -1
    source = receive_array(found, tensor, peer_named("source", found, src, group_src), tag)
    if src is None and group_src is None:
        if source is None:
            raise RuntimeError(errors.NO_SOURCE_RANK)
        return source
    return src if src is not None else get_global_rank(found, cast(int, group_src))


def irecv(
    tensor: Tensor,
    src: int | None = None,
    group: ProcessGroup | None = None,
    tag: int = 0,
    group_src: int | None = None,
) -> Work | None:
    """Begin to receive. Errors and None as ``isend``, ValueError for an array that cannot be written."""
    found = member_group("irecv", group)
    if found is None:
        return None
    return begin_receive(found, tensor, peer_named("source", found, src, group_src), tag)


# -- batches -----------------------------------------------------------------------------------------------------------


class P2POp:
    """One message of ``batch_isend_irecv``: ``op`` is ``isend`` or ``irecv``, ``peer`` a global rank.

    Outside of the group it begins nothing, as ``op`` itself. Errors: ValueError for another ``op``, for no peer or two,
    and for a peer that is no member; TypeError, torch's, for anything but a tensor.
    """

    def __init__(
        self,
        op: Callable[..., Any],
        tensor: Tensor,
        peer: int | None = None,
        group: ProcessGroup | None = None,
        tag: int = 0,
        group_peer: int | None = None,
    ) -> None:
        if op is not isend and op is not irecv:
            raise ValueError(errors.NOT_AN_OPERATION)
        self.op = op
        self.tensor = tensor
        self.tag = tag
        if peer is not None and group_peer is not None:
            raise ValueError(errors.TWO_ROOTS)
        if peer is None and group_peer is None:
            raise ValueError(errors.NO_ROOT)
        self.peer, self.group_peer = peer, group_peer
        self.group: Any = group
        if group is not None and is_non_member(group):
            return  # the members' ranks are not known here
        self.group = find_group(group)
        rows_of(self.group, tensor)
        if peer is None:
            self.peer = get_global_rank(self.group, cast(int, group_peer))
        else:
            self.group_peer = get_group_rank(self.group, peer)

    def __repr__(self) -> str:
        ends = get_rank(self.group), self.group_peer
        source, destination = ends if self.op is isend else ends[::-1]
        name = getattr(self.group, "group_name", self.group)
        return (
            f"P2POp({self.op.__name__} pg={name}, group_src={source}, group_dst={destination},  "
            f"{self.tensor.shape}, {self.tensor.dtype})"
        )


def batch_isend_irecv(p2p_op_list: list[P2POp]) -> list[Work]:
    """Begin all of them and return their works in order.

    Errors: ValueError for anything but a list of P2POp or if their groups differ, IndexError for an empty list.
    """
    if not isinstance(p2p_op_list, list) or not all(isinstance(each, P2POp) for each in p2p_op_list):
        raise ValueError(errors.NOT_OPERATIONS)
    if any(each.group is not p2p_op_list[0].group for each in [p2p_op_list[0], *p2p_op_list]):
        raise ValueError("All ops need to use the same group.")
    works = [
        each.op(each.tensor, each.peer if each.group_peer is None else None, each.group, each.tag, each.group_peer)
        for each in p2p_op_list
    ]
    return [work for work in works if work is not None]


def peer_named(what: str, group: ProcessGroup, global_rank: int | None, group_rank: int | None) -> int:
    """The global rank of a peer, named in one of torch's two ways. A source without a name is ANY_SOURCE."""
    if global_rank is not None and group_rank is not None:
        raise ValueError(errors.TWO_ROOTS)
    if global_rank is None and group_rank is None:
        if what == "source":
            group.transport.check_messages()
            return ANY_SOURCE
        raise ValueError(errors.NO_ROOT)
    if global_rank is not None:
        group_rank = get_group_rank(group, global_rank)
    assert group_rank is not None
    return peer_of(group, what, group_rank)
