"""Reads a script that is a stream and no file: standard input, a FIFO, or a descriptor of the launcher.

A stream can be read only once. A single rank that starts once reads it itself, as under torchrun. For several ranks or
attempts, the launcher reads it before anything starts, and each rank gets the bytes on its own descriptor.
"""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from typing import Final

from fake_torch_dist.launcher.commandline.config import EntryKind, LaunchConfig
from fake_torch_dist.launcher.commandline.parser import UsageError

STANDARD_INPUT: Final = "-"
_OF_DESCRIPTORS: Final = ("/dev/fd/", "/proc/self/fd/")
_FIRST_FREE: Final = 3
_CHUNK: Final = 1 << 20


def with_streamed_script(config: LaunchConfig) -> LaunchConfig:
    """Return the configuration with the stream noted, and read if the ranks cannot read it. Raises UsageError."""
    if config.kind not in (EntryKind.SCRIPT, EntryKind.RUN_PATH) or not _is_stream(config.entrypoint):
        return config
    number = descriptor_of(config.entrypoint)
    ranks = config.nproc_per_node * (config.max_nodes if config.emulated else 1)
    if ranks == 1 and not config.max_restarts and number in (None, 0):
        return replace(config, streamed=True)
    if number is not None and os.isatty(number):
        raise UsageError(
            f"'{config.entrypoint}' is a terminal: a script that is typed in can't be handed to {ranks} ranks or "
            "started again; give a Python file, or start one rank without --max-restarts"
        )
    return replace(config, streamed=True, source=_read(config.entrypoint, number))


def descriptor_of(name: str) -> int | None:
    """Return the descriptor that a script's name stands for; None for a FIFO, which has a path."""
    if name in (STANDARD_INPUT, "/dev/stdin"):
        return 0
    for directory in _OF_DESCRIPTORS:
        if name.startswith(directory) and name.removeprefix(directory).isdecimal():
            return int(name.removeprefix(directory))
    return None


def handed_on(config: LaunchConfig) -> tuple[str, int]:
    """Return the script's name for a rank, and the descriptor on which the rank finds the bytes."""
    number = descriptor_of(config.entrypoint)
    return (config.entrypoint, number) if number is not None else (f"/dev/fd/{_FIRST_FREE}", _FIRST_FREE)


def _is_stream(name: str) -> bool:
    if name == STANDARD_INPUT:
        return True
    try:
        mode = os.stat(name).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or (descriptor_of(name) is not None and not stat.S_ISREG(mode))


def _read(name: str, number: int | None) -> bytes:
    try:
        fd = os.open(name, os.O_RDONLY) if number is None else os.dup(number)
        try:
            chunks = []
            while chunk := os.read(fd, _CHUNK):
                chunks.append(chunk)
        finally:
            os.close(fd)
    except OSError as error:
        raise UsageError(
            f"can't open file '{name}': [Errno {error.errno}] {error.strerror}: give a Python file"
        ) from None
    return b"".join(chunks)
