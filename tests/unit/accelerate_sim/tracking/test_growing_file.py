"""Files of trackers grow by whole pieces."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from accelerate_sim.tracking.growing_file import BUFFER_BYTES, GrowingFile

LIMIT_BYTES = 100_000


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file may be longer than LIMIT_BYTES: writing more is an error, after a part of it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT_BYTES, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_much_is_written_at_once_and_little_waits(tmp_path: Path) -> None:
    file = GrowingFile(tmp_path / "file")
    file.append(b"a" * 100)
    assert (file.path.stat().st_size, file.size_bytes) == (0, 100)
    file.append(b"b" * BUFFER_BYTES)
    assert file.path.stat().st_size == file.size_bytes == 100 + BUFFER_BYTES
    file.append(b"c")
    file.flush()
    assert file.path.read_bytes() == b"a" * 100 + b"b" * BUFFER_BYTES + b"c"
    file.close()


def test_what_is_there_is_kept_as_far_as_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    file = GrowingFile(path, 4)
    file.append(b"x")
    file.flush()
    assert (path.read_bytes(), file.size_bytes) == (b"0123x", 5)
    file.close()


def test_a_piece_that_does_not_fit_is_not_there_in_part(tmp_path: Path, full_disk: None) -> None:
    file = GrowingFile(tmp_path / "file")
    file.append(b"a" * 70_000)
    with pytest.raises(OSError, match="too large"):
        file.append(b"b" * 70_000)
    assert file.path.read_bytes() == b"a" * 70_000
    file.append(b"c" * 10)
    file.flush()
    assert file.path.stat().st_size == 70_000
    file.close()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("kept")
    os.symlink(tmp_path / "secret", tmp_path / "file")
    with pytest.raises(OSError):
        GrowingFile(tmp_path / "file")
    assert (tmp_path / "secret").read_text() == "kept"
