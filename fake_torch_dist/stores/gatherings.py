"""Gatherings: each of n ranks leaves a value under a key, and when all have, each gets what it needs of all values.

The server has this operation of its own because its state is not a value; it takes one request in place of a dozen.
Once complete, the next gathering under the same key has the next number, which is a world's generation
(``meeting.generations``). The number of each key, and the values of its last gathering, stay.

In a small world each rank gets all values at once. All values for all ranks of a large one would be bytes that grow
with the square of its size; there a rank gets the value of rank 0 and that of the next rank on its host, and asks for
another when it needs it.

What this module does not do: keep the requests that wait (``parked_requests``), remove the value of a client that died.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import Final, NamedTuple

from fake_torch_dist.stores.messages import Kind, Message, encode

SIZES_DIFFER = "rank {rank} came with a world size of {size}, but another rank with {other}"  # ValueError
FORGOTTEN = "the values of gathering {number} are not kept any more"  # DistStoreError

SMALL_WORLD: Final = 256
"""Most ranks of a world in which each gets all values at once: up to here that is faster than to ask for some."""


class Gathered(NamedTuple):
    """A rank's part of a complete gathering."""

    number: int
    """Number of the gatherings under this key that were complete before."""
    near: Sequence[int]
    """The ranks of this rank's host, in order; a range if they follow each other."""
    num_on_first_host: int
    """Number of the ranks on the host of rank 0."""
    values: dict[int, bytes]
    """The values that this rank gets at once, by rank."""

    @classmethod
    def parse(cls, answer: Message) -> Gathered:
        """The part that an answer to GATHER holds."""
        numbers, spans, ranks, *values = answer.fields
        bounds = _unpacked(spans)
        near = [range(begin, end) for begin, end in zip(bounds[::2], bounds[1::2], strict=True)]
        known = dict(zip(_unpacked(ranks), values, strict=True))
        first = int.from_bytes(numbers, "little")
        return cls(answer.number, near[0] if len(near) == 1 else [*chain(*near)], first, known)


@dataclass(slots=True)
class _Open:
    """A gathering that is not complete."""

    size: int
    values: dict[int, bytes] = field(default_factory=dict)
    """By rank; the last value of a rank that joined again after a time-out."""
    hosts: dict[int, bytes] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)
    """Number of times that each rank joined."""


class _Complete:
    """A complete gathering, which answers each rank."""

    def __init__(self, number: int, found: _Open) -> None:
        self.number = number
        self.values = [found.values[rank] for rank in range(found.size)]
        self._hosts = [found.hosts[rank] for rank in range(found.size)]
        self._on_host: dict[bytes, list[int]] = {}
        for rank, host in enumerate(self._hosts):
            self._on_host.setdefault(host, []).append(rank)
        self._next = {
            rank: follower
            for ranks in self._on_host.values()
            for rank, follower in zip(ranks, [*ranks[1:], ranks[0]], strict=True)
        }
        self._heads: dict[bytes, list[bytes]] = {}
        """The fields of an answer that depend on the host alone."""
        self._whole: dict[bytes, bytes] = {}
        """Answers with all values, by host."""

    def encoded_for(self, rank: int) -> bytes:
        """The answer to GATHER for one rank."""
        host = self._hosts[rank]
        if len(self.values) > SMALL_WORLD:
            return self._encoded(host, sorted({0, self._next[rank]}))
        if host not in self._whole:
            self._whole[host] = self._encoded(host, range(len(self.values)))
        return self._whole[host]

    def _encoded(self, host: bytes, ranks: Sequence[int]) -> bytes:
        if host not in self._heads:
            first = len(self._on_host[self._hosts[0]])
            self._heads[host] = [first.to_bytes(4, "little"), packed_ranks(_spans(self._on_host[host]))]
        fields = [*self._heads[host], packed_ranks(ranks), *(self.values[each] for each in ranks)]
        return encode(Message(Kind.DONE, self.number, fields))


class Gatherings:
    """All gatherings of one server."""

    def __init__(self) -> None:
        self._open: dict[bytes, _Open] = {}
        self._complete: dict[bytes, _Complete] = {}

    def answer(self, message: Message) -> Message | None:
        """The answer to a request; None if more ranks have to join, or if this one completes the gathering, which
        ``encoded_for`` then answers for each rank. ValueError for a malformed request.

        GATHER: ``number`` is the rank, ``fields`` are key, number of ranks as decimal text, value, and a name of the
        rank's host; a REFUSED is for the sender alone. GATHERED: ``number`` is the gathering's, ``fields`` are key and
        ``packed_ranks``; the answer has their values. GATHER_COUNTS: the field is the key; the answer's fields count
        how often each rank has joined the open one.
        """
        kind, number, fields = message
        if kind == Kind.GATHER_COUNTS and len(fields) == 1:
            counts = self._open[fields[0]].counts if fields[0] in self._open else {}
            pairs = (b"%d %d" % pair for pair in counts.items())
            return Message(Kind.DONE, self._next_number(fields[0]), list(pairs))
        if kind == Kind.GATHERED and len(fields) == 2:
            return self._values_of(fields[0], number, _unpacked(fields[1]))
        if kind != Kind.GATHER or len(fields) != 4 or not fields[1].isdigit() or len(fields[1]) > 9:
            raise ValueError(f"no such request: {kind} with {len(fields)} fields")
        key, size = fields[0], int(fields[1])
        if not 0 <= number < size:
            raise ValueError(f"rank {number} of {size}")
        return self._add(key, number, size, fields[2], fields[3])

    def is_complete(self, key: bytes) -> bool:
        """True if a gathering under ``key`` has been completed and no next one has begun."""
        return key in self._complete and key not in self._open

    def encoded_for(self, key: bytes, rank: int) -> bytes:
        """The answer to GATHER for one rank of the last complete gathering under ``key``."""
        return self._complete[key].encoded_for(rank)

    def _add(self, key: bytes, rank: int, size: int, value: bytes, host: bytes) -> Message | None:
        gathering = self._open.setdefault(key, _Open(size))
        if gathering.size != size:
            text = SIZES_DIFFER.format(rank=rank, size=size, other=gathering.size)
            return Message(Kind.REFUSED, 0, [text.encode()])
        gathering.values[rank], gathering.hosts[rank] = value, host
        gathering.counts[rank] = gathering.counts.get(rank, 0) + 1
        if len(gathering.values) == size:
            del self._open[key]
            self._complete[key] = _Complete(self._next_number(key), gathering)
        return None

    def _next_number(self, key: bytes) -> int:
        return self._complete[key].number + 1 if key in self._complete else 0

    def _values_of(self, key: bytes, number: int, ranks: Sequence[int]) -> Message:
        found = self._complete.get(key)
        if found is None or found.number != number:
            return Message(Kind.REFUSED, 0, [FORGOTTEN.format(number=number).encode()])
        if max(ranks, default=0) >= len(found.values):
            raise ValueError(f"rank {max(ranks)} of {len(found.values)}")
        return Message(Kind.DONE, number, [found.values[rank] for rank in ranks])


def packed_ranks(ranks: Iterable[int]) -> bytes:
    """Ranks as bytes, four for each."""
    numbers = [*ranks]
    return struct.pack(f"<{len(numbers)}I", *numbers)


def _unpacked(data: bytes) -> Sequence[int]:
    if len(data) % 4:
        raise ValueError("ranks of a broken length")
    return struct.unpack(f"<{len(data) // 4}I", data)


def _spans(ranks: Sequence[int]) -> list[int]:
    """The begin and the end of each span of ranks that follow each other, one after the other."""
    bounds = [ranks[0]]
    for before, rank in pairwise(ranks):
        if rank != before + 1:
            bounds += (before + 1, rank)
    return [*bounds, ranks[-1] + 1]
