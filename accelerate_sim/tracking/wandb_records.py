"""Encodes and decodes wandb's run files: protobuf records, cut into the fragments of LevelDB's log format.

A file is a header and blocks of 32 KiB; a fragment is a CRC-32, a length, a kind and data, and none crosses a block.
https://github.com/google/leveldb/blob/main/doc/log_format describes it; wandb's checksum is zlib's instead of
Castagnoli's.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from functools import cache
from zlib import crc32

from accelerate_sim.tracking.event_records import varint

FILE_HEADER = b":W&B" + struct.pack("<HB", 0xBEE1, 0)
BLOCK_BYTES = 32768
_FRAGMENT = struct.Struct("<IHB")
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_CRC_OF_KIND = {kind: crc32(bytes([kind])) for kind in (_FULL, _FIRST, _MIDDLE, _LAST)}
# Keys of protobuf fields: number << 3 | wire type.
_RECORD_NUM, _RECORD_HISTORY = b"\x08", b"\x12"
_HISTORY_ITEM, _HISTORY_STEP, _STEP_NUM = b"\x0a", b"\x12", b"\x08"
_ITEM_NESTED_KEY, _ITEM_VALUE_JSON = b"\x12", b"\x82\x01"


def fragments(record: bytes, offset: int) -> bytes:
    """Encode a record for the end of a file that is ``offset`` bytes long."""
    left = BLOCK_BYTES - offset % BLOCK_BYTES
    if _FRAGMENT.size + len(record) <= left:
        return _fragment(_FULL, record)
    padding = b""
    if left < _FRAGMENT.size:
        padding, left = bytes(left), BLOCK_BYTES
    first = left - _FRAGMENT.size
    whole = BLOCK_BYTES - _FRAGMENT.size
    parts = [record[:first], *(record[begin : begin + whole] for begin in range(first, len(record), whole))]
    kinds = [_FULL] if len(parts) == 1 else [_FIRST, *[_MIDDLE] * (len(parts) - 2), _LAST]
    return padding + b"".join(map(_fragment, kinds, parts))


def _fragment(kind: int, data: bytes) -> bytes:
    return _FRAGMENT.pack(crc32(data, _CRC_OF_KIND[kind]), len(data), kind) + data


def whole_records(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (length of the file up to its end, record) for each record up to the first that is incomplete."""
    offset = len(FILE_HEADER)
    pieces: list[bytes] = []
    while True:
        left = BLOCK_BYTES - offset % BLOCK_BYTES
        if left < _FRAGMENT.size:
            offset += left
        if offset + _FRAGMENT.size > len(data):
            return
        checksum, size, kind = _FRAGMENT.unpack_from(data, offset)
        offset += _FRAGMENT.size
        piece = data[offset : offset + size]
        if kind not in _CRC_OF_KIND or crc32(piece, _CRC_OF_KIND[kind]) != checksum:
            return
        pieces.append(piece)
        offset += size
        if kind in (_FULL, _LAST):
            yield offset, b"".join(pieces)
            pieces = []


def history_record(number: int, step: int, figures: Mapping[str, float]) -> bytes:
    """Encode the figures of a step, in the order given, as record ``number`` of the file."""
    pieces: list[bytes] = []
    for name, value in figures.items():
        text = repr(value).encode()
        pieces += (_before_value(name, len(text)), text)
    num = _STEP_NUM + varint(step)
    pieces += (_HISTORY_STEP, varint(len(num)), num)
    history = b"".join(pieces)
    return _RECORD_NUM + varint(number) + _RECORD_HISTORY + varint(len(history)) + history


@cache
def _before_value(name: str, value_bytes: int) -> bytes:
    """All bytes of a history item that come before its value, whose JSON is ``value_bytes`` long."""
    key = name.encode()
    item = _ITEM_NESTED_KEY + varint(len(key)) + key + _ITEM_VALUE_JSON + varint(value_bytes)
    return _HISTORY_ITEM + varint(len(item) + value_bytes) + item
