"""Gatherings: each of n ranks leaves a value under a key, and when all have, each gets all values.

The server has this operation of its own because its state is not a value; it takes one request in place of a dozen.
Once complete, a gathering is deleted, and the next under the same key has the next number, which is a world's
generation (``meeting.generations``). One number for each key stays.

What this module does not do: keep the requests that wait (``parked_requests``), remove the value of a client that died.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fake_torch_dist.stores.messages import Kind, Message

SIZES_DIFFER = "rank {rank} came with a world size of {size}, but another rank with {other}"  # ValueError


@dataclass(slots=True)
class _Open:
    """A gathering that is not complete."""

    size: int
    values: dict[int, bytes] = field(default_factory=dict)
    """By rank; the last value of a rank that joined again after a time-out."""
    counts: dict[int, int] = field(default_factory=dict)
    """Number of times that each rank joined."""


class Gatherings:
    """All gatherings of one server."""

    def __init__(self) -> None:
        self._open: dict[bytes, _Open] = {}
        self._complete: dict[bytes, int] = {}

    def answer(self, message: Message) -> Message | None:
        """The answer to GATHER and GATHER_COUNTS; None if more ranks have to join. ValueError for a malformed request.

        GATHER: ``number`` is the rank, ``fields`` are key, number of ranks as decimal text, and value. The answer, for
        all requests that wait, is the gathering's number and all values in rank order; a REFUSED is for the sender
        alone. GATHER_COUNTS: the field is the key; the answer's fields count how often each rank has joined the open
        one.
        """
        kind, rank, fields = message
        if kind == Kind.GATHER_COUNTS and len(fields) == 1:
            counts = self._open[fields[0]].counts if fields[0] in self._open else {}
            pairs = (b"%d %d" % pair for pair in counts.items())
            return Message(Kind.DONE, self._complete.get(fields[0], 0), list(pairs))
        if kind != Kind.GATHER or len(fields) != 3 or not fields[1].isdigit() or len(fields[1]) > 9:
            raise ValueError(f"no such request: {kind} with {len(fields)} fields")
        key, size = fields[0], int(fields[1])
        if not 0 <= rank < size:
            raise ValueError(f"rank {rank} of {size}")
        return self._add(key, rank, size, fields[2])

    def _add(self, key: bytes, rank: int, size: int, value: bytes) -> Message | None:
        gathering = self._open.setdefault(key, _Open(size))
        if gathering.size != size:
            text = SIZES_DIFFER.format(rank=rank, size=size, other=gathering.size)
            return Message(Kind.REFUSED, 0, [text.encode()])
        gathering.values[rank] = value
        gathering.counts[rank] = gathering.counts.get(rank, 0) + 1
        if len(gathering.values) < size:
            return None
        del self._open[key]
        number = self._complete.get(key, 0)
        self._complete[key] = number + 1
        return Message(Kind.DONE, number, [gathering.values[rank] for rank in range(size)])
