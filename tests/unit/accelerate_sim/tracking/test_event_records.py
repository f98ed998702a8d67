"""Bytes of event files, against published checksums and against the packages that define them."""

from __future__ import annotations

import importlib
import io
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelerate_sim.tracking.crc32c import FEW, MASK_DELTA, masked_crc32c, masked_crc32c_of_rows
from accelerate_sim.tracking.event_records import ScalarEvents, record, whole_events

TAGS = ("train/loss", "long" * 60, "x")
STEPS = (1, 5, 127, 128, 300, 16_383, 16_384, 2**31, 3) * 5
"""Numbers of one to five bytes are written and read back."""


def unmasked(crc: int) -> int:
    rotated = (crc - MASK_DELTA) & 0xFFFFFFFF
    return (rotated << 15 | rotated >> 17) & 0xFFFFFFFF


@pytest.mark.parametrize(
    ("data", "crc"),
    [(bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (bytes(range(32)), 0x46DD794E), (b"123456789", 0xE3069283)],
)
def test_checksums_of_rfc_3720(data: bytes, crc: int) -> None:
    assert unmasked(masked_crc32c(data)) == crc


@given(st.binary(min_size=1, max_size=40), st.integers(1, 3 * FEW))
def test_rows_have_the_checksums_of_single_records(data: bytes, number: int) -> None:
    rows = np.frombuffer(data * number, np.uint8).reshape(number, -1) + np.arange(number, dtype=np.uint8)[:, None]
    assert masked_crc32c_of_rows(rows).tolist() == [masked_crc32c(row.tobytes()) for row in rows]


def events() -> tuple[bytes, np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    values = np.random.default_rng(1).normal(size=(len(STEPS), len(TAGS)))
    values[0, 0], values[1, 1], values[2] = 0.0, np.inf, 1e40
    times_s = 1.7e9 + np.arange(len(STEPS)) / 7
    return ScalarEvents(TAGS).records(times_s, STEPS, values), times_s, values.astype("f4").astype(float)


@pytest.mark.filterwarnings("ignore:overflow")
def test_a_torn_record_is_no_record() -> None:
    data, _, _ = events()
    whole = list(whole_events(data))
    assert len(whole) == len(STEPS)
    assert b"".join(record(event) for _, event in whole) == data
    last, _ = whole[-1]
    for size in (last, last + 3, last + 13, len(data) - 1):
        assert list(whole_events(data[:size])) == whole[:-1]


@pytest.mark.real
@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("package", ["tensorboard.compat.proto", "tensorboardX.proto"])
def test_bytes_are_those_of_the_package(package: str) -> None:
    pytest.importorskip(package)
    messages = importlib.import_module(f"{package}.event_pb2")
    summaries = importlib.import_module(f"{package}.summary_pb2").Summary
    data, times_s, values = events()
    expected = [
        messages.Event(
            wall_time=time_s, step=step,
            summary=summaries(
                value=[summaries.Value(tag=tag, simple_value=one) for tag, one in zip(TAGS, row, strict=True)]
            ),
        ).SerializeToString()
        for time_s, step, row in zip(times_s, STEPS, values, strict=True)
    ]  # fmt: skip
    assert [event for _, event in whole_events(data)] == expected


@pytest.mark.real
@pytest.mark.filterwarnings("ignore:overflow")
def test_records_are_those_of_the_writer() -> None:
    writers = pytest.importorskip("tensorboard.summary.writer.record_writer")
    data, _, _ = events()
    file = io.BytesIO()
    writer = writers.RecordWriter(file)
    for _, event in whole_events(data):
        writer.write(event)
    assert file.getvalue() == data
    assert struct.unpack_from("<Q", data)[0] == len(next(whole_events(data))[1])
