"""The transport between processes that play one rank each.

Every collective begins with one round, through the group's first rank or between two members, which carries the data,
too, when that is little. Large data stays where it is: members read it from each other's memory, fold or copy their own
part, and further rounds keep members from changing data that is still being read. Where memory cannot be read, between
hosts and in some containers, large data travels with the round.

An ``out`` is a contiguous array that the result may be written into; it is returned if that was done.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from fake_torch_dist import errors
from fake_torch_dist.core.fingerprint import Call
from fake_torch_dist.core.reduction import Array
from fake_torch_dist.core.transport import Rows
from fake_torch_dist.transports import direct_read
from fake_torch_dist.transports.rounds import joined, parted
from fake_torch_dist.transports.small_exchanges import SmallExchanges


class ProcessTransport(SmallExchanges):
    """The collectives of a group whose members are processes."""

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


def _blocks(data: bytes | memoryview, size: int) -> list[memoryview]:
    """``data`` in ``size`` equal pieces."""
    length = len(data) // size
    return [memoryview(data)[k * length : (k + 1) * length] for k in range(size)]


def _array(data: memoryview, like: Array) -> Array:
    found: Array = np.frombuffer(data, like.dtype)
    return found.reshape(like.shape)


def _writable(out: Array, sources: Sequence[Array]) -> bool:
    return bool(out.flags.c_contiguous) and not any(np.may_share_memory(out, source) for source in sources)
