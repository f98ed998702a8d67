"""Messages from one member of a group to another: their labels, their arrays, and the ``Work`` that they begin.

A message of a tensor has its dtype and shape, so a receiver with another dtype or size gets an error that names both;
torch reinterprets the bytes or crashes.

What this module does not do: find groups, and ranks named in torch's two ways (``api.point_to_point``).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np

from fake_torch_dist import errors
from fake_torch_dist.core.argument_kinds import whole_number
from fake_torch_dist.core.reduction import Array
from fake_torch_dist.core.row_collectives import RowCollectives
from fake_torch_dist.core.transport import ANY_SOURCE, Received
from fake_torch_dist.core.work import Tensor, Work, begin, finish

HELD_BYTES: Final = 1 << 16
"""The kernel holds messages up to this size for a receiver that computes."""


def begin_send(group: RowCollectives, tensor: Tensor, to: int, tag: int, *, moves: bool = True) -> Work:
    """Begin to send ``tensor`` to global rank ``to``. ``moves``: it goes on while no thread waits for it."""
    row = _contiguous_row(group, tensor, tag, written=False)
    coroutine = group.transport.send(to, tag, _label(row.dtype, row.shape), _bytes_of(row))
    return begin(group, coroutine, [tensor], members=_ends(group, to), moves=moves)


def begin_receive(group: RowCollectives, tensor: Tensor, source: int, tag: int, *, moves: bool = True) -> Work:
    """Begin to receive into ``tensor`` from global rank ``source``, or from any member with ANY_SOURCE.

    ``moves``: a message that the sender's kernel cannot hold goes on while no thread waits for it. MismatchError from
    ``wait`` for a message of another dtype or number of elements, which is lost.
    """
    row = _contiguous_row(group, tensor, tag, written=True)
    moves = moves and row.nbytes > HELD_BYTES
    return begin(group, _receive_into(group, source, tag, row), [tensor], members=_ends(group, source), moves=moves)


def send_array(group: RowCollectives, tensor: Tensor, to: int, tag: int) -> None:
    """Send ``tensor`` to global rank ``to``; return when the kernel has all of it. No task for a small one."""
    row = _contiguous_row(group, tensor, tag, written=False)
    rest = group.transport.post(to, tag, _label(row.dtype, row.shape), _bytes_of(row))
    if rest is not None:
        finish(group, rest, members=_ends(group, to))


def receive_array(group: RowCollectives, tensor: Tensor, source: int, tag: int) -> int | None:
    """Wait for a message as ``begin_receive`` does; return its sender's global rank, None where no message comes."""
    row = _contiguous_row(group, tensor, tag, written=True)
    received = group.transport.receive_now(source, tag, group.timeout)
    return None if received is None else _fill(group, tag, row, received)


async def _receive_into(group: RowCollectives, source: int, tag: int, row: Array) -> int | None:
    received = await group.transport.receive(source, tag)
    return None if received is None else _fill(group, tag, row, received)


def _fill(group: RowCollectives, tag: int, row: Array, received: Received) -> int:
    """Write a message into ``row`` and return its sender's global rank. MismatchError if it does not fit."""
    label = _label(row.dtype, row.shape)
    dtype, _, shape = received.label.partition(" ")
    own_dtype, _, own_shape = label.partition(" ")
    if dtype != own_dtype or len(received.data) != row.nbytes:
        raise errors.MismatchError(
            f"rank {received.source} sent {dtype} of shape {shape}, but rank {group.global_rank()} receives "
            f"{own_dtype} of shape {own_shape} (tag {tag})"
        )
    _bytes_of(row)[:] = received.data
    return received.source


def send_and_wait(group: RowCollectives, to: int, label: str, data: bytes) -> None:
    """Send bytes that are not a tensor's to global rank ``to``."""
    finish(group, group.transport.send(to, 0, label, memoryview(data)), members=_ends(group, to))


def receive_and_wait(group: RowCollectives, source: int) -> Received | None:
    """Wait for a message of ``send_and_wait``. None with backend "fake", where none comes."""
    received: Received | None = finish(group, group.transport.receive(source, 0), members=_ends(group, source))
    return received


def peer_of(group: RowCollectives, what: str, group_rank: int) -> int:
    """The global rank of another member. ``what`` is "source" or "destination".

    ValueError, torch's, for a rank that is not in the group and for this process's; NotImplementedError in the virtual
    world; TypeError for anything but a whole number.
    """
    group_rank = whole_number(f"{what} rank", group_rank, "int, a rank such as 0")
    if not 0 <= group_rank < group.size():
        raise ValueError(f"Invalid {what} rank: {group_rank}; the group has {group.size()} ranks")
    group.transport.check_messages()
    if group_rank == group.rank():
        raise ValueError(errors.PEER_IS_SELF.format(what=what))
    return group.ranks[group_rank]


def _ends(group: RowCollectives, peer: int) -> list[int]:
    """The global ranks that a message needs."""
    return list(group.ranks) if peer == ANY_SOURCE else [group.global_rank(), peer]


def _contiguous_row(group: RowCollectives, tensor: Tensor, tag: int, *, written: bool) -> Array:
    group.transport.check_messages()
    whole_number("tag", tag)
    row: Array = group.transport.rows_of(tensor, "tensor", written=written)[0, ...]
    if not row.flags.c_contiguous:
        raise RuntimeError("input tensor has to be contiguous")
    return row


def _bytes_of(row: Array) -> memoryview:
    """The memory of a contiguous array."""
    return row.reshape(-1).view(np.uint8).data


@lru_cache(maxsize=256)
def _label(dtype: np.dtype[Any], shape: tuple[int, ...]) -> str:
    """The dtype's name, which numpy puts together anew each time it is asked for, and the shape."""
    return f"{dtype.name} {shape}"
