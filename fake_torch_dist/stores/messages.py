"""Requests to a store, their answers, and their encoding as bytes.

``key_table`` defines the effect of each. A file of a ``FileStore`` and the frames of a ``TCPStore`` hold them.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Final, NamedTuple, overload


class Kind(IntEnum):
    """The operation of a request, or the result of an answer. ``key_table.Table`` reads ``number`` and ``fields`` of
    each."""

    SET = 1
    GET = 2
    ADD = 3
    APPEND = 4
    COMPARE_SET = 5
    CHECK = 6
    WAIT = 7
    DELETE = 8
    NUM_KEYS = 9
    LIST_KEYS = 10
    PUSH = 11
    POP = 12
    QUEUE_LEN = 13
    WAIT_COUNT = 14
    GATHER = 15
    """Answered by ``gatherings``, as are the next two."""
    GATHER_COUNTS = 16
    GATHERED = 17
    DONE = 64
    """The answer is in ``number`` and ``fields``."""
    REFUSED = 65
    """The operation is refused; ``fields`` has a sentence with the reason."""
    EMPTY = 66
    """The queue is empty."""


class Message(NamedTuple):
    """A request or an answer."""

    kind: int
    number: int = 0
    fields: Sequence[bytes] = ()


HEAD: Final = struct.Struct("!Bq")
_LENGTH: Final = struct.Struct("!I")
_FEW: Final = 8
"""Up to this number, fields are cut out when a message is decoded."""


def encode(message: Message) -> bytes:
    """Kind (1 byte), number (8), then length (4) and bytes of every field; all big-endian."""
    parts = [HEAD.pack(message.kind, message.number)]
    for field in message.fields:
        parts += (_LENGTH.pack(len(field)), field)
    return b"".join(parts)


def decode(data: bytes | bytearray | memoryview) -> Message:
    """The message of the bytes that ``encode`` made. ValueError for anything else."""
    if len(data) < HEAD.size:
        raise ValueError("a message without a head")
    kind, number = HEAD.unpack_from(data)
    bounds, at = array("Q"), HEAD.size
    while at < len(data):
        if at + _LENGTH.size > len(data):
            raise ValueError("a field without a length")
        (length,) = _LENGTH.unpack_from(data, at)
        bounds.append(at + _LENGTH.size)
        at += _LENGTH.size + length
        bounds.append(at)
        if at > len(data):
            raise ValueError("a field that is longer than its message")
    fields = _Fields(bytes(data), bounds)
    return Message(kind, number, fields if len(fields) > _FEW else [*fields])


class _Fields(Sequence[bytes]):
    """Fields that are cut out of their message on access: each rank reads few of the values of all ranks."""

    def __init__(self, data: bytes, bounds: array[int]) -> None:
        """``bounds`` has the begin and the end of each field, one after the other."""
        self._data = data
        self._bounds = bounds

    def __len__(self) -> int:
        return len(self._bounds) // 2

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...

    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        return self._data[self._bounds[2 * index] : self._bounds[2 * index + 1]]

    def __iter__(self) -> Iterator[bytes]:
        data, bounds = self._data, self._bounds
        return (data[begin:end] for begin, end in zip(bounds[::2], bounds[1::2], strict=True))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and [*self] == [*other]

    __hash__ = None  # type: ignore[assignment]  # as a list
