"""Files are opened as what they are, and nothing waits for a pipe."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from accelerate_sim.artifacts import plain_file
from accelerate_sim.tracking.growing_file import GrowingFile
from accelerate_sim.tracking.jsonl import JsonlTracker


def pipe(place: Path) -> None:
    os.mkfifo(place)


def directory(place: Path) -> None:
    place.mkdir()


def link(place: Path) -> None:
    place.with_name("target").write_text("precious")
    place.symlink_to("target")


def bound_socket(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(place))


KINDS = [pipe, directory, link, bound_socket]
OPENS: list[Callable[[Path], object]] = [
    plain_file.open_to_read, plain_file.open_to_append, plain_file.read, plain_file.create, GrowingFile,
    lambda path: JsonlTracker(path.parent, lambda: datetime(2026, 1, 31), every_gpu=False, keep=(0, 0)),
    lambda path: JsonlTracker(path.parent, lambda: datetime(2026, 1, 31), every_gpu=False),
]  # fmt: skip


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("opened", OPENS)
def test_what_is_no_plain_file_is_refused_at_once(
    make: Callable[[Path], None], opened: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "metrics.jsonl")
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match=r"no plain file|File exists"):
        opened(tmp_path / "metrics.jsonl")
    assert set(os.listdir("/proc/self/fd")) == before
    if make is link:
        assert (tmp_path / "target").read_text() == "precious"


def test_a_plain_file_is_read_and_appended_to(tmp_path: Path) -> None:
    fd = plain_file.create(tmp_path / "file")
    os.write(fd, b"one")
    os.close(fd)
    fd = plain_file.open_to_append(tmp_path / "file")
    os.write(fd, b"two")
    os.close(fd)
    assert plain_file.read(tmp_path / "file") == b"onetwo"
    assert plain_file.read(tmp_path / "file", 2) == b"on"
    with pytest.raises(FileNotFoundError):
        plain_file.open_to_read(tmp_path / "other")
