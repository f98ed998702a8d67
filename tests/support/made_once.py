"""``made_once``: what takes long to make, and what tests in several of pytest's processes only read, is made by one."""

from __future__ import annotations

import fcntl
import os
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

Made = TypeVar("Made")


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Made]) -> Made:
    """Return what ``make`` returned in the process that came first; it may leave files in the directory that it gets.

    ``name`` stands for it in all processes. It is pickled.
    """
    top = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        top = top.parent
    made = top / f"{name}.pickle"
    with open(top / f"{name}.lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            if not made.exists():
                directory = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=top))
                made.write_bytes(pickle.dumps(make(directory)))
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)  # a child that ``make`` has left may have it open, too
    found: Made = pickle.loads(made.read_bytes())
    return found
