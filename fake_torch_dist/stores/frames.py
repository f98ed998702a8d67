"""Frames: messages on the connection between a ``TCPStore`` and its server.

A frame is a length (4 bytes, of what follows), the number of the request (4), and a message as ``messages.encode``
writes it. An answer has the number of its request. Lengths are checked before anything is read: 1 KiB from strangers,
64 MiB from members of the job.
"""

from __future__ import annotations

import struct
from typing import Final

from fake_torch_dist.stores.messages import Message, decode, encode

FRAME: Final = struct.Struct("!II")
"""Length of what follows the first 4 bytes, number of the request."""
MAX_MESSAGE: Final = 64 << 20
"""Bytes in a frame of somebody who has the token."""
MAX_GREETING: Final = 1 << 10
"""Bytes in a frame of anybody else."""


def frame(number: int, message: Message) -> bytes:
    """``message`` as it goes over the wire. ValueError if it is longer than MAX_MESSAGE."""
    return framed(number, encode(message))


def framed(number: int, data: bytes) -> bytes:
    """A message that has been encoded already, as ``frame`` has it."""
    if len(data) + 4 > MAX_MESSAGE:
        raise ValueError(f"{len(data)} bytes are too much for one message of a store; {MAX_MESSAGE - 4} is the limit")
    return FRAME.pack(len(data) + 4, number) + data


def next_frame(incoming: bytearray, limit: int) -> tuple[int, Message] | None:
    """Take the first frame out of ``incoming``; None if it is not all there. ValueError if it is none."""
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
