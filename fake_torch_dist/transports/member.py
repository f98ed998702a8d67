"""``MemberTransport``: rounds, reads of other members' memory, and messages of one process in a group.

The collectives of ``ProcessTransport`` are made of these.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from functools import cache, lru_cache
from typing import Any, Final, NamedTuple

import numpy as np

from fake_torch_dist import errors
from fake_torch_dist.core.fingerprint import Call
from fake_torch_dist.core.one_rank import OneRankTransport
from fake_torch_dist.core.output_buffers import writable_block, writable_row, writable_rows
from fake_torch_dist.core.reduction import Array
from fake_torch_dist.core.transport import ANY_SOURCE, Received
from fake_torch_dist.transports import direct_read
from fake_torch_dist.transports.engine import Engine
from fake_torch_dist.transports.folding import NodeFold, Read
from fake_torch_dist.transports.pair_rounds import PairRounds
from fake_torch_dist.transports.rounds import Answer, Rounds
from fake_torch_dist.transports.waits import POINT_TO_POINT, Address, Messages, Written

SMALL_BYTES: Final = 32768
"""Data up to this size travels with the first round."""

_ADDRESSES: Final = struct.Struct("<IQQ")  # process, address of the input, address of the output


class MemoryAddresses(NamedTuple):
    """The process of a member, and the addresses of its input and its output."""

    pid: int
    source: int
    target: int


class MemberTransport(OneRankTransport):
    """One group, as one process has it. ``ranks`` are the members' global ranks in group order."""

    def __init__(
        self, engine: Engine, ranks: Sequence[int], group: int, ranks_per_node: int, *, reads_memory: bool
    ) -> None:
        self._engine = engine
        self._group = group
        self.ranks = tuple(ranks)
        self.size = len(ranks)
        self.me = self.ranks.index(engine.peers.rank)
        self.pid = engine.peers.contact.pid
        self.reads_memory = reads_memory
        self.rounds = (PairRounds if self.size == 2 else Rounds)(engine, ranks, group)
        self._fold = NodeFold(ranks, ranks_per_node, self.me)

    # -- arguments -----------------------------------------------------------------------------------------------------

    def label(self, name: str, array: Array | None = None, *details: object, shapeless: bool = False) -> Call:
        """The name, dtype, shape per rank and details of a collective, which the members compare."""
        if array is None:
            return Call(name, "", ())
        detail = str(details[0]) if len(details) == 1 else ", ".join(map(str, details))
        return Call(name, _name_of(array.dtype), () if shapeless else array.shape[1:], detail)

    def out_row(self, mine: Array, *read: Array) -> Array | None:
        """The row of ``mine`` if it is contiguous and shares no memory with ``read``."""
        if read and any(np.may_share_memory(mine, array) for array in read):
            return None
        return writable_row(mine)

    def out_rows(self, rows: list[Array], mine: Array) -> list[Array] | None:
        """``rows`` if a result can be written there while other members read ``mine``."""
        return writable_rows(rows, mine, self.me)

    def out_block(self, output: Array, mine: Array) -> Array | None:
        """The row of ``output`` if a fold can be written there while other members read ``mine``."""
        return writable_block(output, mine, self.me)

    def check_messages(self) -> None:
        """Messages can be sent."""

    # -- rounds --------------------------------------------------------------------------------------------------------

    async def _small(self, call: Call, data: bytes, answer: Answer) -> memoryview:
        number = self.rounds.next()
        return await self.rounds.round(number, call.fingerprint(number), data, answer)

    async def _addresses(
        self, call: Call, source: Array, target: Array | None = None
    ) -> tuple[int, list[MemoryAddresses]]:
        """First round of a collective on large data: all members exchange the addresses of theirs."""
        number = self.rounds.next()
        address = direct_read.address_of(source)
        mine = _ADDRESSES.pack(self.pid, address, address if target is None else direct_read.address_of(target))
        label = call.fingerprint(number)
        table = await self.rounds.round(number, label, mine, lambda all_of: [b"".join(all_of)] * self.size)
        return number, [MemoryAddresses(*fields) for fields in _ADDRESSES.iter_unpack(table)]

    async def _read_then_meet(self, number: int, work: Callable[[], None]) -> None:
        """Do ``work`` in the others' memory; return when all members are done, or raise on all."""
        label = b""
        try:
            work()
        except errors.PeerGoneError as failure:
            await self.rounds.give_up(number, failure)
        except errors.DistBackendError as failure:
            label = str(failure).encode()
        await self.rounds.round(number, label, b"", lambda all_of: [b""] * self.size)

    def _read(self, place: MemoryAddresses | int, address: int, into: Array, owner: int) -> None:
        pid = place if isinstance(place, int) else place.pid
        try:
            direct_read.read(pid, address, into)
        except ProcessLookupError:
            raise errors.PeerGoneError([self.ranks[owner]]) from None
        except OSError as failure:
            raise errors.DistBackendError(f"rank {self.ranks[self.me]}: {failure}") from failure

    def _reader(self, places: list[MemoryAddresses]) -> Read:
        return lambda member, offset, into: self._read(places[member], places[member].source + offset, into, member)

    def _is_large(self, size_bytes: int) -> bool:
        return self.reads_memory and size_bytes > SMALL_BYTES

    # -- point to point ------------------------------------------------------------------------------------------------

    async def send(self, to: int, tag: int, label: str, data: memoryview) -> None:
        """Send a message to global rank ``to``; done when the kernel has all of it."""
        self._engine.send(to, self._group, POINT_TO_POINT, tag, _head(label), data)
        await self._written(to)

    def post(self, to: int, tag: int, label: str, data: memoryview) -> Coroutine[Any, Any, None] | None:
        """As ``send``, begun at once; None if the kernel has all of the message."""
        if self._engine.post(to, self._group, POINT_TO_POINT, tag, _head(label), data):
            return None
        return self._written(to)

    async def _written(self, to: int) -> None:
        try:
            await Written(to)
        except errors.DistError:
            self._engine.peers.copy_unsent(to)  # the rest may still go, and the memory is the caller's again
            raise

    async def receive(self, source: int, tag: int) -> Received:
        """The next message of global rank ``source``, or of any with ANY_SOURCE."""
        self._engine.peers.watch(self.ranks if source == ANY_SOURCE else [source])
        (found,) = await Messages([Address(source, self._group, POINT_TO_POINT, tag)])
        return _received(source, found)

    def receive_now(self, source: int, tag: int, timeout: timedelta) -> Received:
        """As ``receive``, for a caller that waits at once."""
        members = self.ranks if source == ANY_SOURCE else (self.ranks[self.me], source)
        address = Address(source, self._group, POINT_TO_POINT, tag)
        return _received(source, self._engine.receive(address, members, timeout))

    def close(self) -> None:
        """The connections belong to the world, not to a group."""


def _received(source: int, found: Any) -> Received:
    """A message out of its payload; ``found`` is a pair with its sender if it is awaited from any member."""
    sender, payload = found if source == ANY_SOURCE else (source, found)
    end = 2 + payload[0] + 256 * payload[1]
    return Received(sender, str(payload[2:end], "utf-8"), memoryview(payload)[end:])


@lru_cache(maxsize=256)
def _head(label: str) -> bytes:
    """The label of a message, after its length."""
    text = label.encode()
    return len(text).to_bytes(2, "little") + text


@cache
def _name_of(dtype: np.dtype[Any]) -> str:
    """The name of a dtype, which numpy puts together anew each time it is asked for."""
    return dtype.name
