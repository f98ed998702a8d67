"""Frames on one connection: bytes from and to messages. ``peers`` authenticates the other end.

A frame is a header (size, group, channel, number) and its payload. Small ones are collected in a buffer; the payload of
a large one goes from the kernel to its own memory without a copy between.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from typing import Final

import numpy as np

HEADER: Final = struct.Struct("<QIIq")  # payload bytes, group, channel, number
LARGEST_BYTES: Final = 1 << 36
READ_BYTES: Final = 1 << 18

_NOTHING: Final = memoryview(b"")

Payload = bytes | bytearray | memoryview
Frame = tuple[int, int, int, int, Payload]
"""(source rank, group, channel, number, payload)."""


class PeerConnection:
    """A connection with another rank: frames in and frames out."""

    __slots__ = ("_body", "_filled", "_header", "buffer", "greeting", "only_sends", "queue", "rank", "socket")

    def __init__(self, connection: socket.socket, rank: int = -1, greeting: bytes = b"") -> None:
        """``greeting`` goes out before the first frame."""
        self.socket = connection
        self.rank = rank
        """The rank at the other end; -1 until it has authenticated."""
        self.greeting = greeting
        self.only_sends = False
        """True if nothing but the end of the connection is read."""
        self.queue: deque[memoryview] = deque()
        """The bytes that the kernel has not accepted yet."""
        self.buffer = bytearray()
        self._body = _NOTHING
        self._filled = 0
        self._header = (0, 0, 0)

    # -- in ------------------------------------------------------------------------------------------------------------

    def read(self, frames: list[Frame], inbox: memoryview) -> bool:
        """Append the frames that are here; False at the connection's end. ValueError for a size above the limit.

        ``inbox`` is READ_BYTES of memory that is used during the call only. It is not allocated for each read, as the
        allocator would return it to the kernel each time, depending on its neighbours, which takes 20 us.
        """
        while True:
            if self._body:
                count = self.socket.recv_into(self._body[self._filled :])
                self._filled += count
                if count and self._filled < len(self._body):
                    continue
                if count:
                    frames.append((self.rank, *self._header, self._body))
                    self._body, self._filled = _NOTHING, 0
                    continue
                return False
            count = self.socket.recv_into(inbox)
            if not count:
                return False
            if count >= HEADER.size and not self.buffer:
                size, group, channel, number = HEADER.unpack_from(inbox)
                if HEADER.size + size == count:  # most often one whole frame: no copy through the buffer
                    frames.append((self.rank, group, channel, number, bytes(inbox[HEADER.size : count])))
                    return True
                if READ_BYTES < HEADER.size + size <= LARGEST_BYTES:
                    self._begin_body(size, (group, channel, number), inbox[HEADER.size : count])
                    continue
            self.buffer += inbox[:count]
            self.parse(frames)
            if count < READ_BYTES and not self._body:
                return True

    def parse(self, frames: list[Frame]) -> None:
        """Append the complete frames of ``buffer``, and begin a large one that is not complete."""
        buffer, start = self.buffer, 0
        while len(buffer) - start >= HEADER.size:
            size, group, channel, number = HEADER.unpack_from(buffer, start)
            if size > LARGEST_BYTES:
                raise ValueError(f"a message of {size} bytes")
            begin, end = start + HEADER.size, start + HEADER.size + size
            if end > len(buffer):
                if size > READ_BYTES:
                    self._begin_body(size, (group, channel, number), memoryview(buffer)[begin:])
                    start = len(buffer)
                break
            frames.append((self.rank, group, channel, number, bytes(memoryview(buffer)[begin:end])))
            start = end
        del buffer[:start]

    def _begin_body(self, size: int, header: tuple[int, int, int], begin: memoryview) -> None:
        """Allocate memory for a large frame, and fill it with the beginning, which has arrived."""
        self._header, self._filled = header, len(begin)
        self._body = np.empty(size, np.uint8).data  # a bytearray would be filled with zeros first
        self._body[: self._filled] = begin

    # -- out -----------------------------------------------------------------------------------------------------------

    def send(self, group: int, channel: int, number: int, payload: Payload, tail: memoryview | None = None) -> bool:
        """Send a frame of ``payload`` and ``tail``; False if the kernel does not accept all and the queue was empty.

        A large tail is not copied: it must stay until it is written.
        """
        queue = self.queue
        size = len(payload) + (len(tail) if tail else 0)
        header = self.greeting + HEADER.pack(size, group, channel, number)
        self.greeting = b""
        waits = bool(queue)
        if tail and len(tail) > READ_BYTES:
            queue.append(memoryview(header + payload))
            queue.append(tail)
        else:
            frame = b"".join((header, payload, tail or b""))
            if not waits:
                try:  # ``suppress`` would be three more calls for every message
                    sent = self.socket.send(frame)
                except BlockingIOError:
                    sent = 0
                if sent == len(frame):
                    return True
                frame = frame[sent:]
            queue.append(memoryview(frame))
        return waits or self.push()

    def greet(self) -> None:
        """Queue the greeting, without a frame behind it."""
        if self.greeting:
            self.queue.append(memoryview(self.greeting))
            self.greeting = b""

    def push(self) -> bool:
        """Write what the kernel accepts; True if nothing is left."""
        while self.queue:
            try:
                sent = self.socket.send(self.queue[0])
            except BlockingIOError:
                return False
            if sent < len(self.queue[0]):
                self.queue[0] = self.queue[0][sent:]
            else:
                self.queue.popleft()
        return True

    def copy(self) -> None:
        """Copy the queued bytes, so that their memory may change."""
        self.queue = deque(memoryview(bytes(held)) for held in self.queue)
