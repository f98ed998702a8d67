"""Encodes and decodes TensorBoard's event files: single records, and many events of scalars at once.

A record is its length, a checksum of that, an ``Event`` and a checksum of that. An ``Event`` of scalars differs from
the one of the next step only in its numbers, so a batch is one table of bytes whose columns of numbers are filled in.
The wire format is protobuf's; a test compares the bytes with those of the package's own writer.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from accelerate_sim.tracking.crc32c import masked_crc32c, masked_crc32c_of_rows

HEADER_BYTES = 12
FOOTER_BYTES = 4
# Keys of protobuf fields: number << 3 | wire type.
_EVENT_WALL_TIME, _EVENT_STEP, _EVENT_SUMMARY = 1 << 3 | 1, 2 << 3 | 0, 5 << 3 | 2
_SUMMARY_VALUE, _VALUE_TAG, _VALUE_SIMPLE = 1 << 3 | 2, 1 << 3 | 2, 2 << 3 | 5


def varint(number: int) -> bytes:
    """Encode a number from 0 as protobuf does: seven bits a byte, the lowest first."""
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def record(event: bytes) -> bytes:
    """Frame an event as a record of the file."""
    return _header(len(event)) + event + struct.pack("<I", masked_crc32c(event))


def _header(size_bytes: int) -> bytes:
    length = struct.pack("<Q", size_bytes)
    return length + struct.pack("<I", masked_crc32c(length))


def whole_events(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (offset of its record, event) for each record up to the first that is incomplete."""
    offset = 0
    while offset + HEADER_BYTES <= len(data):
        (size,) = struct.unpack_from("<Q", data, offset)
        begin = offset + HEADER_BYTES
        if begin + size + FOOTER_BYTES > len(data):
            return
        yield offset, data[begin : begin + size]
        offset = begin + size + FOOTER_BYTES


class ScalarEvents:
    """Encoder of events that all have the scalars ``tags``."""

    def __init__(self, tags: Sequence[str]) -> None:
        self._tags = [tag.encode() for tag in tags]
        self._layouts: dict[int, tuple[np.dtype[np.void], bytes]] = {}

    def records(self, wall_times_s: NDArray[np.float64], steps: Sequence[int], values: NDArray[np.float64]) -> bytes:
        """Encode events in the order of their steps, from 1; ``values`` is [events, tags], stored as 32-bit floats."""
        sizes = np.array([len(varint(step)) for step in steps])
        with np.errstate(over="ignore"):
            single = values.astype("<f4")
        pieces = []
        for part in np.split(np.arange(len(steps)), np.flatnonzero(np.diff(sizes)) + 1):
            pieces.append(self._same_size(wall_times_s[part], [steps[index] for index in part], single[part]))
        return b"".join(pieces)

    def _same_size(self, wall_times_s: NDArray[np.float64], steps: list[int], values: NDArray[np.float32]) -> bytes:
        """Encode events whose steps have encodings of equal length."""
        dtype, template = self._layout(len(varint(steps[0])))
        data = bytearray(template * len(steps))
        table = np.frombuffer(data, dtype)
        table["wall_time"] = wall_times_s
        table["step"] = np.frombuffer(b"".join(map(varint, steps)), dtype["step"])
        for index in range(len(self._tags)):
            table[f"value {index}"] = values[:, index]
        rows = np.frombuffer(data, np.uint8).reshape(len(steps), -1)
        table["checksum"] = masked_crc32c_of_rows(rows[:, HEADER_BYTES:-FOOTER_BYTES])
        return bytes(data)

    def _layout(self, step_bytes: int) -> tuple[np.dtype[np.void], bytes]:
        """Offsets of the numbers in a record, and a record in which all numbers are zero."""
        if step_bytes not in self._layouts:
            self._layouts[step_bytes] = self._make_layout(step_bytes)
        return self._layouts[step_bytes]

    def _make_layout(self, step_bytes: int) -> tuple[np.dtype[np.void], bytes]:
        names, formats, offsets = ["wall_time", "step"], ["<f8", f"V{step_bytes}"], [1, 10]
        summary = b""
        offset_of_value = []
        for tag in self._tags:
            value = bytes((_VALUE_TAG, *varint(len(tag)))) + tag + bytes((_VALUE_SIMPLE, 0, 0, 0, 0))
            summary += bytes((_SUMMARY_VALUE, *varint(len(value)))) + value
            offset_of_value.append(len(summary) - 4)
        event = bytes((_EVENT_WALL_TIME, *bytes(8), _EVENT_STEP, *bytes(step_bytes), _EVENT_SUMMARY))
        event += varint(len(summary))
        names += [f"value {index}" for index in range(len(self._tags))] + ["checksum"]
        formats += ["<f4"] * len(self._tags) + ["<u4"]
        offsets += [len(event) + offset for offset in offset_of_value] + [len(event) + len(summary)]
        event += summary
        whole = _header(len(event)) + event + bytes(FOOTER_BYTES)
        places = [HEADER_BYTES + offset for offset in offsets]
        dtype = np.dtype({"names": names, "formats": formats, "offsets": places, "itemsize": len(whole)})
        return dtype, whole
