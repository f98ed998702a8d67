"""Requests to a store and their answers, and how they are written as bytes.

``table`` says what each of them does. A file of a ``FileStore`` and the frames of a ``TCPStore`` carry them.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import Final, NamedTuple


class Kind(IntEnum):
    """What a message asks for, or how it answers. ``number`` and ``fields`` of each are in ``table.Table``."""

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
    """What it does, and who answers it, says ``gatherings``; so of the next."""
    GATHER_COUNTS = 16
    DONE = 64
    """The answer is in ``number`` and ``fields``."""
    REFUSED = 65
    """The operation makes no sense: a sentence in ``fields``."""
    EMPTY = 66
    """There is nothing in the queue."""


class Message(NamedTuple):
    """A request or an answer."""

    kind: int
    number: int = 0
    fields: Sequence[bytes] = ()


HEAD: Final = struct.Struct("!Bq")
_LENGTH: Final = struct.Struct("!I")


def encode(message: Message) -> bytes:
    """Kind (1 byte), number (8), then length (4) and bytes of every field; all big-endian."""
    parts = [HEAD.pack(message.kind, message.number)]
    for field in message.fields:
        parts += (_LENGTH.pack(len(field)), field)
    return b"".join(parts)


def decode(data: bytes | bytearray | memoryview) -> Message:
    """What ``encode`` made. ValueError for anything else."""
    view = memoryview(data)
    if len(view) < HEAD.size:
        raise ValueError("a message without a head")
    kind, number = HEAD.unpack_from(view)
    fields, at = [], HEAD.size
    while at < len(view):
        if at + _LENGTH.size > len(view):
            raise ValueError("a field without a length")
        (length,) = _LENGTH.unpack_from(view, at)
        at += _LENGTH.size + length
        if at > len(view):
            raise ValueError("a field that is longer than its message")
        fields.append(bytes(view[at - length : at]))
    return Message(kind, number, fields)
