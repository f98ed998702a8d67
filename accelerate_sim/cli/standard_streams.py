"""Standard output and standard error of the command line, which may be on a full disk, closed, or without a reader."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from accelerate_sim.display.slow_reader import OutputClosed, OutputFull, lost_output
from accelerate_sim.process.signals import SIGPIPE_EXIT


@contextmanager
def all_written() -> Iterator[None]:
    """Write what is printed inside before the block ends. Raises OutputClosed, and OutputFull on a full disk."""
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        if lost := lost_output(error):
            raise lost from error
        raise


def complain(message: str) -> None:
    """Print a line on standard error; nothing happens where that cannot be written."""
    with suppress(OSError):
        print(message, file=sys.stderr, flush=True)
        return
    _discard(2)


def end_without_output(error: OutputClosed) -> int:
    """Give up standard output, name a full disk, and return the exit code: that of SIGPIPE without a reader."""
    _discard(1)
    if not isinstance(error, OutputFull):
        return SIGPIPE_EXIT
    complain(str(error))
    return 1


def _discard(descriptor: int) -> None:
    """Let the descriptor take what is unwritten: Python flushes when it exits, which would fail again."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    if null != descriptor:
        os.close(null)
