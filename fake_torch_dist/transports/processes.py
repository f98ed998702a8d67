"""The transport between processes that play one rank each.

Every collective begins with one round through the group's first rank, which carries the data, too, when that is little.
Large data stays where it is: members read it from each other's memory, fold or copy their own part, and further rounds
keep members from changing data that is still being read. Where memory cannot be read, between hosts and in some
containers, large data travels with the round.

An ``out`` is a contiguous array that the result may be written into; it is returned if that was done.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np

from fake_torch_dist import errors
from fake_torch_dist.core.fingerprint import Call
from fake_torch_dist.core.one_rank import OneRankTransport
from fake_torch_dist.core.output_buffers import writable_block, writable_row, writable_rows
from fake_torch_dist.core.reduction import Array
from fake_torch_dist.core.transport import ANY_SOURCE, Received, Rows
from fake_torch_dist.transports import direct_read
from fake_torch_dist.transports.engine import Engine
from fake_torch_dist.transports.folding import NodeFold, Read
from fake_torch_dist.transports.rounds import Answer, Rounds, joined, parted
from fake_torch_dist.transports.waits import POINT_TO_POINT, Address, Messages, Written

SMALL_BYTES: Final = 32768
"""Data up to this size travels with the first round."""

_NUMBER: Final = struct.Struct("<Q")
_ADDRESSES: Final = struct.Struct("<IQQ")  # process, address of the input, address of the output


class MemoryAddresses(NamedTuple):
    """The process of a member, and the addresses of its input and its output."""

    pid: int
    source: int
    target: int


class ProcessTransport(OneRankTransport):
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
        self.rounds = Rounds(engine, ranks, group)
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

    # -- collectives ---------------------------------------------------------------------------------------------------

    async def all_fold(self, shards: Array, ufunc: np.ufunc, call: Call, out: Array | None = None) -> Array:
        """Fold all members' rows in rank order. ``out`` may be the input's own memory."""
        mine = np.asarray(shards[0], order="C")
        if not self._is_large(mine.nbytes):
            fold = self._fold.of_bytes
            reply = await self._small(call, mine.tobytes(), lambda parts: [fold(parts, mine, ufunc)] * self.size)
            return _array(reply, mine)
        result = np.empty_like(mine) if out is None else out
        number, places = await self._addresses(call, mine, result)
        bounds = [mine.size * part // self.size for part in range(self.size + 1)]
        source, target = mine.reshape(-1), result.reshape(-1)

        def fold_mine() -> None:
            self._fold.of_memory(self._reader(places), source, target, bounds[self.me], bounds[self.me + 1], ufunc)

        def collect() -> None:
            for other, place in enumerate(places):
                part = target[bounds[other] : bounds[other + 1]]
                if other != self.me and part.size:
                    self._read(place, place.target + bounds[other] * mine.itemsize, part, other)

        await self._read_then_meet(number + 1, fold_mine)
        await self._read_then_meet(number + 2, collect)
        return result

    async def reduce_scatter(
        self, shards: Array, ufunc: np.ufunc, call: Call, out: Array | None = None, sizes: Sequence[int] | None = None
    ) -> Array:
        """Fold all members' rows; block k of the result, of ``sizes[k]`` elements, goes to group rank k.

        Without sizes all blocks are equal. ``out`` may be this member's own block of the input. Returns a flat array.
        """
        mine = np.asarray(shards[0], order="C")
        ends = np.cumsum(sizes).tolist() if sizes else [mine.size // self.size * (k + 1) for k in range(self.size)]
        bounds = [0, *ends]
        if not self._is_large(mine.nbytes):
            whole = self._fold.of_bytes

            def answer(parts: list[memoryview]) -> list[memoryview]:
                folded, width = memoryview(whole(parts, mine, ufunc)), mine.itemsize
                return [folded[begin * width : end * width] for begin, end in pairwise(bounds)]

            return np.frombuffer(await self._small(call, mine.tobytes(), answer), mine.dtype)
        number, places = await self._addresses(call, mine)
        first, last = bounds[self.me], bounds[self.me + 1]
        result = np.empty(last - first, mine.dtype) if out is None else out
        source, target = mine.reshape(-1), result.reshape(-1)

        def fold() -> None:
            self._fold.of_memory(self._reader(places), source, target, first, last, ufunc, shift=first)

        await self._read_then_meet(number + 1, fold)
        return result

    async def all_gather(self, shards: Array, call: Call, out: Sequence[Array] | None = None) -> Rows:
        """Every member's row in group order. ``out`` is one array for each, of which ours may be the input itself."""
        mine = np.asarray(shards[0], order="C")
        if not self._is_large(mine.nbytes * self.size // 8):
            reply = await self._small(call, mine.tobytes(), lambda parts: [b"".join(parts)] * self.size)
            return np.frombuffer(reply, mine.dtype).reshape(self.size, *mine.shape)
        results: Rows = np.empty((self.size, *mine.shape), mine.dtype) if out is None else out
        number, places = await self._addresses(call, mine)

        def collect() -> None:
            for other, place in enumerate(places):
                if other != self.me:
                    self._read(place, place.source, results[other], other)

        if direct_read.address_of(results[self.me]) != direct_read.address_of(mine):
            results[self.me][...] = mine
        await self._read_then_meet(number + 1, collect)
        return results

    async def broadcast(self, shards: Array, root: int, call: Call, out: Array | None = None) -> Array:
        """The row of group rank ``root``; ``out`` may be the input itself."""
        mine = np.asarray(shards[0], order="C")
        if not self._is_large(mine.nbytes):
            data = mine.tobytes() if self.me == root else b""
            return _array(await self._small(call, data, lambda parts: [parts[root]] * self.size), mine)
        number, places = await self._addresses(call, mine)
        result = np.empty_like(mine) if out is None else out

        def collect() -> None:
            if self.me != root:
                self._read(places[root], places[root].source, result, root)
            elif result is not mine:
                result[...] = mine

        await self._read_then_meet(number + 1, collect)
        return result

    async def gather(self, shards: Array, root: int, call: Call, out: Sequence[Array] | None = None) -> Rows | None:
        """Every member's row in group order, at group rank ``root``; None elsewhere. ``out`` as in ``all_gather``."""
        mine = np.asarray(shards[0], order="C")
        if not self._is_large(mine.nbytes):
            nothing = [b""] * self.size
            reply = await self._small(
                call, mine.tobytes(), lambda parts: [*nothing[:root], b"".join(parts), *nothing[root + 1 :]]
            )
            return np.frombuffer(reply, mine.dtype).reshape(self.size, *mine.shape) if self.me == root else None
        number, places = await self._addresses(call, mine)
        results: Rows | None = None
        if self.me == root:
            results = np.empty((self.size, *mine.shape), mine.dtype) if out is None else out

        def collect() -> None:
            for other, place in enumerate(places if results is not None else ()):
                assert results is not None
                self._read(place, place.source, results[other], other)

        await self._read_then_meet(number + 1, collect)
        return results

    async def scatter(
        self, parts: Sequence[Array] | None, root: int, call: Call, like: Array, out: Array | None = None
    ) -> Array:
        """Entry k of the root's ``parts`` goes to group rank k. ``like`` has the shape and dtype of each."""
        sources = [np.asarray(part, order="C") for part in parts or ()]
        if not self._is_large(like.nbytes * self.size):
            data = b"".join(part.tobytes() for part in sources)
            return _array(await self._small(call, data, lambda rows: _blocks(rows[root], self.size)), like)
        number = self.rounds.next()
        addresses = struct.pack(f"<I{len(sources)}Q", self.pid, *map(direct_read.address_of, sources))
        label = call.fingerprint(number)
        table = await self.rounds.round(number, label, addresses, lambda rows: [rows[root]] * self.size)
        pid, *places = struct.unpack(f"<I{self.size}Q", table)
        mine = np.empty_like(like, order="C") if out is None else out
        await self._read_then_meet(number + 1, lambda: self._read(pid, places[self.me], mine, root))
        return mine

    async def all_to_all(self, parts: Sequence[Array], call: Call, outs: Sequence[Array]) -> Sequence[Array]:
        """Entry k of ``parts`` goes to group rank k, where it is entry ``me`` of the result.

        ``outs`` have the sizes that are expected from each member; the contiguous arrays among them are written into
        unless they share memory with ``parts``. MismatchError on every member if one expects another size than it is
        sent.
        """
        sources = [np.asarray(part, order="C") for part in parts]
        inline = not self._is_large(sum(part.nbytes for part in sources))
        numbers = [self.pid, inline]
        numbers += [part.nbytes for part in sources] + [out.nbytes for out in outs]
        numbers += [direct_read.address_of(part) for part in sources]
        head = struct.pack(f"<{len(numbers)}Q", *numbers)
        data = b"".join(part.tobytes() for part in sources) if inline else b""
        number = self.rounds.next()
        reply = await self.rounds.round(number, call.fingerprint(number), head + data, self._crossed)
        table, *pieces = parted(reply)
        if pieces:
            return [np.frombuffer(piece, out.dtype) for piece, out in zip(pieces, outs, strict=True)]
        places = list(struct.iter_unpack("<QQ", table))
        results = [out if _writable(out, sources) else np.empty_like(out, order="C") for out in outs]

        def collect() -> None:
            for other, (pid, address) in enumerate(places):
                if results[other].size:
                    self._read(pid, address, results[other], other)

        await self._read_then_meet(number + 1, collect)
        return results

    def _crossed(self, messages: list[memoryview]) -> list[bytes]:
        """The leader's part of ``all_to_all``: compare sizes, and distribute the data or its addresses."""
        size = self.size
        head = struct.Struct(f"<{2 + 3 * size}Q")
        heads = [head.unpack_from(message) for message in messages]
        sent, wanted, places = ([fields[2 + k * size : 2 + (k + 1) * size] for fields in heads] for k in range(3))
        for a in range(size):
            for b in range(size):
                if sent[a][b] != wanted[b][a]:
                    raise errors.MismatchError(
                        f"all_to_all: rank {self.ranks[a]} sends {sent[a][b]} bytes to rank {self.ranks[b]}, which "
                        f"expects {wanted[b][a]} from it"
                    )
        if not all(fields[1] for fields in heads):
            tables = [b"".join(struct.pack("<QQ", heads[a][0], places[a][b]) for a in range(size)) for b in range(size)]
            return [joined([table]) for table in tables]
        pieces = []
        for message, sizes in zip(messages, sent, strict=True):
            ends = np.cumsum((head.size, *sizes)).tolist()
            pieces.append([message[ends[k] : ends[k + 1]] for k in range(size)])
        return [joined([b"", *(row[b] for row in pieces)]) for b in range(size)]

    async def barrier(self, name: str) -> None:
        """Return when every member has called and its earlier collectives of this group are done."""
        number = self.rounds.next()
        earlier = self.rounds.earlier()
        if earlier:
            await self.rounds.after(earlier, number)
        label = Call(name, "", ()).fingerprint(number)
        await self.rounds.round(number, label, b"", lambda parts: [b""] * self.size)

    async def highest(self, number: int, call: Call) -> int:
        """The highest of the numbers that the members bring."""

        def answer(brought: list[memoryview]) -> list[bytes]:
            return [max(brought, key=_NUMBER.unpack).tobytes()] * self.size

        reply = await self._small(call, _NUMBER.pack(number), answer)
        return int(_NUMBER.unpack(reply)[0])

    async def all_agree(self, flag: bool, call: Call) -> bool:
        """True if ``flag`` is true on all members."""
        reply = await self._small(
            call, bytes([flag]), lambda flags: [bytes([all(each[0] for each in flags)])] * self.size
        )
        return bool(reply[0])

    # -- objects -------------------------------------------------------------------------------------------------------

    async def all_gather_packed(self, packed: bytes, call: Call) -> Sequence[memoryview]:
        """Every member's bytes, of any length, in group order."""
        reply = await self._small(call, packed, lambda parts: [joined(parts)] * self.size)
        return parted(reply)

    async def gather_packed(self, packed: bytes, root: int, call: Call) -> list[memoryview]:
        """Every member's bytes at group rank ``root``; an empty list elsewhere."""
        nothing = joined([])
        reply = await self._small(
            call, packed, lambda parts: [joined(parts) if k == root else nothing for k in range(self.size)]
        )
        return parted(reply)

    async def broadcast_packed(self, packed: bytes | None, root: int, call: Call) -> memoryview:
        """The bytes of group rank ``root``."""
        return await self._small(call, packed or b"", lambda parts: [parts[root]] * self.size)

    async def scatter_packed(self, packed: Sequence[bytes], root: int, call: Call) -> memoryview:
        """Entry k of the root's ``packed`` for group rank k; other members' are empty."""
        return await self._small(call, joined(packed), lambda sent: parted(sent[root]))

    # -- point to point ------------------------------------------------------------------------------------------------

    async def send(self, to: int, tag: int, label: str, data: memoryview) -> None:
        """Send a message to global rank ``to``; done when the kernel has all of it."""
        text = label.encode()
        head = len(text).to_bytes(2, "little") + text
        self._engine.send(to, self._group, POINT_TO_POINT, tag, head, data)
        try:
            await Written(to)
        except errors.DistError:
            self._engine.peers.copy_unsent(to)  # the rest may still go, and the memory is the caller's again
            raise

    async def receive(self, source: int, tag: int) -> Received:
        """The next message of global rank ``source``, or of any with ANY_SOURCE."""
        self._engine.peers.watch(self.ranks if source == ANY_SOURCE else [source])
        (found,) = await Messages([Address(source, self._group, POINT_TO_POINT, tag)])
        sender, payload = found if source == ANY_SOURCE else (source, found)
        end = 2 + int.from_bytes(payload[:2], "little")
        return Received(sender, payload[2:end].decode(), memoryview(payload)[end:])

    def close(self) -> None:
        """The connections belong to the world, not to a group."""


@cache
def _name_of(dtype: np.dtype[Any]) -> str:
    """The name of a dtype, which numpy puts together anew each time it is asked for."""
    return dtype.name


def _blocks(data: bytes | memoryview, size: int) -> list[memoryview]:
    """``data`` in ``size`` equal pieces."""
    length = len(data) // size
    return [memoryview(data)[k * length : (k + 1) * length] for k in range(size)]


def _array(data: memoryview, like: Array) -> Array:
    found: Array = np.frombuffer(data, like.dtype)
    return found.reshape(like.shape)


def _writable(out: Array, sources: Sequence[Array]) -> bool:
    return bool(out.flags.c_contiguous) and not any(np.may_share_memory(out, source) for source in sources)
