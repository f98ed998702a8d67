"""Complete writes to a descriptor."""

import os

import pytest

from fake_torch_dist.terminal.descriptor import write_all


@pytest.fixture
def short_writes(monkeypatch):
    """The system takes three bytes at a time."""
    write, pwrite = os.write, os.pwrite
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:3]))
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: pwrite(fd, data[:3], at))


@pytest.mark.usefixtures("short_writes")
@pytest.mark.parametrize(("at", "expected"), [(None, b"0123456789"), (0, b"0123456789"), (2, b"\0\x000123456789")])
def test_all_bytes_are_written_in_order_and_at_their_offset(tmp_path, at, expected):
    with open(tmp_path / "file", "wb", buffering=0) as file:
        write_all(file.fileno(), b"0123456789", at)
    assert (tmp_path / "file").read_bytes() == expected


def test_an_offset_leaves_what_stands_elsewhere(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abcdefgh")
    with open(path, "r+b", buffering=0) as file:
        write_all(file.fileno(), memoryview(b"XY"), 3)
    assert path.read_bytes() == b"abcXYfgh"
