"""Checks that metrics.jsonl still begins with the bytes that a state counts on, before the file is cut."""

from __future__ import annotations

import os
from pathlib import Path
from zlib import crc32

from accelerate_sim.artifacts import plain_file
from accelerate_sim.artifacts.damage import Damaged
from accelerate_sim.checkpoints.state import MetricsLength

PIECE_BYTES = 2**20


def require_beginning(path: Path, expected: MetricsLength) -> None:
    """Raise Damaged unless the file begins with as many bytes, of the same checksum, and they end a line."""
    if not expected.size_bytes:
        return
    try:
        with open(plain_file.open_to_read(path), "rb") as file:
            found = os.fstat(file.fileno()).st_size
            if found < expected.size_bytes:
                raise Damaged(f"counts {expected.size_bytes:,} bytes of {path.name}, which has {found:,}")
            left, checksum, piece = expected.size_bytes, 0, b""
            while left and (piece := file.read(min(left, PIECE_BYTES))):
                checksum, left = crc32(piece, checksum), left - len(piece)
    except FileNotFoundError:
        raise Damaged(f"counts {expected.size_bytes:,} bytes of {path.name}, which is not there") from None
    except OSError as error:
        raise Damaged(f"counts on {path.name}, which can't be read: {error.strerror}") from None
    if checksum != expected.crc32 or not piece.endswith(b"\n"):
        raise Damaged(
            f"counts on the first {expected.size_bytes:,} bytes of {path.name}, which are not those that were written"
        )
