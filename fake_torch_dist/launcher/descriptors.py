"""Descriptors of a forked process: the launcher needs many, its ranks get none of them."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

_allowed_before: tuple[int, int] | None = None


def allow_many() -> None:
    """Raise the soft limit of this process to the hard one; ``as_before`` takes it back in a rank."""
    global _allowed_before
    with suppress(ImportError, ValueError, OSError):
        import resource  # not on every platform

        _allowed_before = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = _allowed_before[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def as_before() -> None:
    """The limit that the launcher itself was started with."""
    if _allowed_before:
        import resource

        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, _allowed_before)


def close_all_but(*kept: int) -> None:
    """Close all other descriptors by their number; the standard ones stay. Objects that own them are left alone."""
    # Not by range: with a limit of a million and without close_range(2) that takes longer than all the rest.
    for name in os.listdir("/proc/self/fd" if sys.platform == "linux" else "/dev/fd"):
        fd = int(name)
        if fd > 2 and fd not in kept:
            with suppress(OSError):
                os.close(fd)
