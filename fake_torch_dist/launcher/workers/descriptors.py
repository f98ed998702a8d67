"""File descriptors of a forked process: the launcher needs many, and its ranks get none of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

_STANDARD: Final = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))

_allowed_before: tuple[int, int] | None = None


def fill_standard() -> None:
    """Open the null device for standard descriptors that are closed (``>&-``), else the next pipe gets their number."""
    for fd, (name, mode) in enumerate(_STANDARD):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number that is free: this one
            setattr(sys, name, open(fd, mode, closefd=False))  # noqa: SIM115 - as long as the process


def write_stderr(text: str) -> None:
    """Write text to standard error at once; an error, such as a full disk, is ignored."""
    with suppress(OSError):
        sys.stderr.flush()
        write_descriptor_2(text)


def write_descriptor_2(text: str) -> None:
    """Write text to standard error, past ``sys.stderr``; an error is ignored."""
    with suppress(OSError):
        os.write(2, text.encode(errors="backslashreplace"))


def allow_many() -> None:
    """Raise the soft limit of this process to the hard one; ``restore_limit`` undoes that in a rank."""
    global _allowed_before
    with suppress(ImportError, ValueError, OSError):
        import resource  # not on every platform

        _allowed_before = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = _allowed_before[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def restore_limit() -> None:
    """Restore the limit that the launcher itself was started with."""
    if _allowed_before:
        import resource

        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, _allowed_before)


@contextmanager
def own_output() -> Iterator[None]:
    """Restore standard output and error at the end of the block, which may replace them."""
    own = os.dup(1), os.dup(2)
    try:
        yield
    finally:
        for fd, saved in enumerate(own, start=1):
            os.dup2(saved, fd)
            os.close(saved)


def highest() -> int:
    """Return the highest open descriptor. A limit of a million is too many to close one by one."""
    open_ones = _open()
    return os.sysconf("SC_OPEN_MAX") if open_ones is None else max(open_ones)


def close_all_but(*kept: int) -> None:
    """Close all other descriptors by their number; the standard ones stay. Objects that own them are left alone."""
    open_ones = _open()
    if open_ones is None:
        ends = (*sorted(kept), os.sysconf("SC_OPEN_MAX"))
        for below, end in zip((2, *ends), ends, strict=False):
            os.closerange(below + 1, end)
        return
    for fd in open_ones:
        if fd > 2 and fd not in kept:
            with suppress(OSError):
                os.close(fd)


def _open() -> list[int] | None:
    """Return the open descriptors, or None if no /proc lists them; ``closerange`` may then need one call for each."""
    try:
        return [int(name) for name in os.listdir("/proc/self/fd" if sys.platform == "linux" else "/dev/fd")]
    except OSError:
        return None
