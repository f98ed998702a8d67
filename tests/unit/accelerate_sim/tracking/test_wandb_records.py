"""Bytes of wandb's run files: fragments and blocks, and records against wandb's own messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelerate_sim.tracking.wandb_records import BLOCK_BYTES, FILE_HEADER, fragments, history_record, whole_records

EDGES = (1, 9, BLOCK_BYTES - 8, BLOCK_BYTES - 7, BLOCK_BYTES - 6, BLOCK_BYTES, 3 * BLOCK_BYTES)
SIZES = st.lists(st.one_of(st.integers(1, 500), st.sampled_from(EDGES), st.integers(30_000, 33_000)), max_size=12)


def written(records: list[bytes]) -> bytes:
    data = FILE_HEADER
    for each in records:
        data += fragments(each, len(data))
    return data


@given(SIZES)
def test_records_are_read_as_they_were_written(sizes: list[int]) -> None:
    records = [bytes([index + 1]) * size for index, size in enumerate(sizes)]
    found = list(whole_records(written(records)))
    assert [data for _, data in found] == records
    assert [end for end, _ in found] == [len(written(records[: index + 1])) for index in range(len(records))]


def test_no_fragment_crosses_a_block() -> None:
    data = written([bytes(size) for size in (100, 40_000, 25_360, 7, 80_000)])
    offset = len(FILE_HEADER)
    while offset < len(data):
        left = BLOCK_BYTES - offset % BLOCK_BYTES
        if left < 7:
            assert data[offset : offset + left] == bytes(left)
            offset += left
            continue
        size = int.from_bytes(data[offset + 4 : offset + 6], "little")
        assert 7 + size <= left
        offset += 7 + size


@given(st.integers(1, 100_000))
def test_what_is_torn_or_damaged_ends_the_file(cut: int) -> None:
    records = [bytes([index]) * 20_000 for index in range(5)]
    data = written(records)
    cut = cut % (len(data) - len(FILE_HEADER)) + len(FILE_HEADER)
    whole = [one for end, one in whole_records(data) if end <= cut]
    assert [one for _, one in whole_records(data[:cut])] == whole
    damaged = data[:cut] + bytes([data[cut] ^ 1]) + data[cut + 1 :]
    assert [one for _, one in whole_records(damaged)][: len(whole)] == whole


@pytest.mark.real
def test_history_is_wandb_s_own_message() -> None:
    messages = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    for number, step in ((1, 1), (300, 128), (70_000, 2**31)):
        figures = {"loss": 2.5, "_step": step, "x" * 150: 1e-10, "tokens": 123_456_789_012}
        expected = messages.Record(num=number)
        for name, value in figures.items():
            expected.history.item.add(nested_key=[name], value_json=repr(value))
        expected.history.step.num = step
        assert history_record(number, step, figures) == expected.SerializeToString()
