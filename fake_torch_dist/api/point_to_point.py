"""Messages from one rank to another: send, recv, their asynchronous forms, and batches of them.

A message is found by its sender, its group and its tag; those of one tag keep their order. What was sent says its dtype
and shape, so a receiver with another dtype or size is told who has what; torch reinterprets or crashes. ``send`` does
not wait for the receiver's ``recv``: it returns when the kernel has the message, which a large one needs the receiver's
process for, in whatever call of this package.

What this module does not do: the virtual world, where one process plays sender and receiver, and strided arrays, which
torch refuses, too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, NamedTuple, cast

import numpy as np

from fake_torch_dist import errors
from fake_torch_dist.api.call import Tensor, begin, finish, member_group, rows_of
from fake_torch_dist.api.registry import find_group, get_global_rank, get_group_rank, get_rank, is_non_member
from fake_torch_dist.api.work import Work
from fake_torch_dist.core.process_group import ProcessGroup
from fake_torch_dist.core.reduction import Array
from fake_torch_dist.transports.engine import Engine
from fake_torch_dist.transports.tasks import ANY_SOURCE, POINT_TO_POINT, Address, Messages, Written

HELD_BYTES: Final = 1 << 16
"""The kernel holds messages up to this size for a receiver that computes."""


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
    work = _begin_send(tensor, dst, group, tag, group_dst)
    if work:
        work.wait()


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
    return _begin_send(tensor, dst, group, tag, group_dst, moves=True)


def _begin_send(
    tensor: Tensor, dst: int | None, group: ProcessGroup | None, tag: int, group_dst: int | None, moves: bool = False
) -> Work | None:
    """As ``isend``. ``moves``: it goes on while nobody waits for it."""
    found = member_group("isend", group)
    if found is None:
        return None
    to = _peer("destination", found, dst, group_dst)
    row = _contiguous(found, tensor, written=False)
    data = row.reshape(-1).view(np.uint8).data
    coroutine = send_bytes(found, to, tag, _label(row), data)
    return begin(found, coroutine, [tensor], members=_pair(found, to), moves=moves)


def recv(
    tensor: Tensor,
    src: int | None = None,
    group: ProcessGroup | None = None,
    tag: int = 0,
    group_src: int | None = None,
) -> int:
    """Fill ``tensor`` with a message and return its sender's global rank. Without a source: whoever sends first.

    Errors: as ``irecv``; MismatchError for a message of another dtype or number of elements, which is lost.
    """
    work = _begin_receive(tensor, src, group, tag, group_src)
    if work is None:
        return -1
    work.wait()
    if src is None and group_src is None:
        return work.source_rank()
    return src if src is not None else get_global_rank(find_group(group), cast(int, group_src))


def irecv(
    tensor: Tensor,
    src: int | None = None,
    group: ProcessGroup | None = None,
    tag: int = 0,
    group_src: int | None = None,
) -> Work | None:
    """Begin to receive. Errors and None as ``isend``, ValueError for an array that cannot be written."""
    return _begin_receive(tensor, src, group, tag, group_src, moves=True)


def _begin_receive(
    tensor: Tensor, src: int | None, group: ProcessGroup | None, tag: int, group_src: int | None, moves: bool = False
) -> Work | None:
    """As ``irecv``. ``moves``: if the sender's kernel cannot hold it, it goes on while nobody waits for it."""
    found = member_group("irecv", group)
    if found is None:
        return None
    source = ANY_SOURCE if src is None and group_src is None else _peer("source", found, src, group_src)
    row = _contiguous(found, tensor, written=True)
    coroutine = _receive_into(found, source, tag, row)
    moves = moves and row.nbytes > HELD_BYTES
    return begin(found, coroutine, [tensor], members=_pair(found, source), moves=moves)


async def _receive_into(group: ProcessGroup, source: int, tag: int, row: Array) -> int:
    received = await receive_bytes(group, source, tag)
    mine = _label(row)
    dtype, _, shape = received.label.partition(" ")
    if dtype != mine.partition(" ")[0] or len(received.data) != row.nbytes:
        raise errors.MismatchError(
            f"rank {received.source} sent {dtype} of shape {shape}, but rank {_engine(group).peers.rank} receives "
            f"{row.dtype.name} of shape {mine.partition(' ')[2]} (tag {tag})"
        )
    row.reshape(-1)[...] = np.frombuffer(received.data, row.dtype)
    return received.source


# -- batches ----------------------------------------------------------------------------------------------------------


class P2POp:
    """One message of ``batch_isend_irecv``: ``op`` is ``isend`` or ``irecv``, ``peer`` a global rank.

    Outside of the group it begins nothing, as ``op`` itself. Errors: ValueError for another ``op``, for no peer or two,
    and for a peer that is no member.
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
        if op not in (isend, irecv):
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

    Errors: ValueError for what is no list of P2POp or if their groups differ, IndexError for an empty list.
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


# -- bytes ------------------------------------------------------------------------------------------------------------


class Received(NamedTuple):
    """A message: who sent it, what it says that it is, and its bytes."""

    source: int
    label: str
    data: memoryview


async def send_bytes(group: ProcessGroup, to: int, tag: int, label: str, data: memoryview) -> None:
    """Send a message to global rank ``to`` and return when the kernel has all of it."""
    engine, text = _engine(group), label.encode()
    head = len(text).to_bytes(2, "little") + text
    engine.send(to, group.number, POINT_TO_POINT, tag, head, data)
    try:
        await Written(to)
    except errors.DistError:
        engine.peers.copy_unsent(to)  # the rest may still go, and the memory is the caller's again
        raise


async def receive_bytes(group: ProcessGroup, source: int, tag: int) -> Received:
    """The next message of global rank ``source``, or of any."""
    engine = _engine(group)
    engine.peers.watch(group.ranks if source == ANY_SOURCE else [source])
    (found,) = await Messages([Address(source, group.number, POINT_TO_POINT, tag)])
    sender, payload = found if source == ANY_SOURCE else (source, found)
    end = 2 + int.from_bytes(payload[:2], "little")
    return Received(sender, payload[2:end].decode(), memoryview(payload)[end:])


def send_and_wait(group: ProcessGroup, to: int, label: str, data: bytes) -> None:
    """A message that is no tensor's."""
    finish(group, send_bytes(group, to, 0, label, memoryview(data)), members=_pair(group, to))


def wait_for_message(group: ProcessGroup, source: int) -> Received | None:
    """As ``send_and_wait``, at the other end. None with backend "fake", where nothing comes."""
    received: Received | None = finish(group, receive_bytes(group, source, 0), members=_pair(group, source))
    return received


def peer_of(what: str, group: ProcessGroup, global_rank: int | None, group_rank: int | None) -> int:
    """The global rank of a peer that is named in one of torch's two ways; no name at all is any source."""
    if what == "source" and global_rank is None and group_rank is None:
        _engine(group)
        return ANY_SOURCE
    return _peer(what, group, global_rank, group_rank)


def _peer(what: str, group: ProcessGroup, global_rank: int | None, group_rank: int | None) -> int:
    if global_rank is not None and group_rank is not None:
        raise ValueError(errors.TWO_ROOTS)
    if global_rank is None and group_rank is None:
        raise ValueError(errors.NO_ROOT)
    if global_rank is not None:
        group_rank = get_group_rank(group, global_rank)
    assert group_rank is not None
    if not 0 <= group_rank < group.size():
        raise ValueError(f"Invalid {what} rank: {group_rank}; the group has {group.size()} ranks")
    if _engine(group) and group_rank == group.rank():
        raise ValueError(errors.PEER_IS_SELF.format(what=what))
    return group.ranks[group_rank]


def _pair(group: ProcessGroup, peer: int) -> list[int]:
    """Those whose end concerns a message."""
    return list(group.ranks) if peer == ANY_SOURCE else [_engine(group).peers.rank, peer]


def _contiguous(group: ProcessGroup, tensor: Tensor, *, written: bool) -> Array:
    _engine(group)
    row: Array = rows_of(group, tensor, written=written)[0, ...]
    if not row.flags.c_contiguous:
        raise RuntimeError("input tensor has to be contiguous")
    return row


def _label(row: Array) -> str:
    return _label_of(row.dtype, row.shape)


@lru_cache(maxsize=256)
def _label_of(dtype: np.dtype[Any], shape: tuple[int, ...]) -> str:
    """numpy puts a dtype's name together anew each time it is asked for."""
    return f"{dtype.name} {shape}"


def _engine(group: ProcessGroup) -> Engine:
    if group.engine is None:
        raise NotImplementedError(errors.NO_MESSAGES_TO_ONESELF)
    return group.engine
