"""Checksums of TensorBoard's records: CRC-32C (Castagnoli, RFC 3720 appendix B), masked as TFRecord files have it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

POLYNOMIAL = 0x82F63B78
"""The Castagnoli polynomial, with its bits reversed."""
MASK_DELTA = 0xA282EAD8
FEW = 16
"""Up to this many rows, a loop over rows is faster than one pass over all of them."""


def _table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return tuple(table)


_TABLE = _table()
_TABLE_ARRAY = np.array(_TABLE, np.uint32)


def masked_crc32c(data: bytes) -> int:
    """Masked checksum of one record."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + MASK_DELTA) & 0xFFFFFFFF


def masked_crc32c_of_rows(rows: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Masked checksum of each row of [records, bytes]."""
    if len(rows) <= FEW:
        return np.array([masked_crc32c(row.tobytes()) for row in rows], np.uint32)
    crc = np.full(len(rows), 0xFFFFFFFF, np.uint32)
    for column in np.ascontiguousarray(rows.T):
        crc = _TABLE_ARRAY[(crc ^ column) & 0xFF] ^ crc >> 8
    crc ^= np.uint32(0xFFFFFFFF)
    return np.asarray((crc >> 15 | crc << 17) + np.uint32(MASK_DELTA), np.uint32)
