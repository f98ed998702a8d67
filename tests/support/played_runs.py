"""Runs of train.py to their end, and runs that several pytest processes play once and read together."""

from __future__ import annotations

import fcntl
from collections.abc import Sequence
from pathlib import Path

from tests.support.reading import Played, Train

START = "2026-01-01T00:00:00"


def played_in(directory: Path, train: Train, arguments: Sequence[str]) -> Played:
    """Run train.py at full speed with its files in this directory; it must succeed."""
    common = ("--speed", "max", "--start-time", START, "--output-dir", str(directory))
    done = train(*arguments, *common)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return Played(done.stdout, directory)


def played_once(directory: Path, train: Train, arguments: Sequence[str]) -> Played:
    """``played_in`` for the first process that asks for this directory; the others wait for it and read its files."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    printed = directory.parent / "stdout.txt"
    with open(directory.parent / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not printed.exists():
            unfinished = directory.parent / "stdout.new"
            unfinished.write_bytes(played_in(directory, train, arguments).text.encode())
            unfinished.rename(printed)
    return Played(printed.read_bytes().decode(), directory)
