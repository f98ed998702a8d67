"""Frames: messages on the connection between a ``TCPStore`` and its server.

A frame is a length (4 bytes, of what follows), the number of the request (4), and a message as ``messages.encode``
writes it. An answer has the number of its request. Lengths are checked before anything is read: 1 KiB before
authentication, 64 MiB after.
"""

from __future__ import annotations

import struct
from typing import Final

from fake_torch_dist.stores.messages import Message, decode, encode

FRAME: Final = struct.Struct("!II")
"""Length of what follows the first 4 bytes, number of the request."""
MAX_MESSAGE: Final = 64 << 20
"""Largest frame, in bytes, of a client that is authenticated."""
MAX_GREETING: Final = 1 << 10
"""Largest frame, in bytes, of any other client."""


def frame(number: int, message: Message) -> bytes:
    """``message`` as it goes over the wire. ValueError if it is longer than MAX_MESSAGE."""
    return framed(number, encode(message))


def framed(number: int, data: bytes) -> bytes:
    """The frame of a message that is encoded already."""
    if len(data) + 4 > MAX_MESSAGE:
        raise ValueError(f"{len(data)} bytes are too much for one message of a store; {MAX_MESSAGE - 4} is the limit")
    return FRAME.pack(len(data) + 4, number) + data


def next_frame(incoming: bytearray, limit: int) -> tuple[int, Message] | None:
    """Remove and return the first frame of ``incoming``; None if it is incomplete. ValueError for anything else."""
    if len(incoming) < FRAME.size:
        return None
    length, number = FRAME.unpack_from(incoming)
    if not 4 < length <= limit:
        raise ValueError(f"a frame of {length} bytes")
    if len(incoming) < 4 + length:
        return None
    data = bytes(memoryview(incoming)[FRAME.size : 4 + length])
    del incoming[: 4 + length]
    return number, decode(data)
