"""One rank's process: forked from the warm interpreter to run the script, or exec'ed."""

from __future__ import annotations

import os
import signal
import sys
import zipimport
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final, NoReturn

from ..commandline.config import EntryKind, LaunchConfig
from . import descriptors, kinship, signal_mask
from .environment import change_environment
from .script import Script

_CANNOT_EXECUTE: Final = 126


def command(config: LaunchConfig) -> list[str] | None:
    """Program and arguments of a rank that is exec'ed; None if it is forked and runs the script itself."""
    target = [config.entrypoint, *config.arguments]
    if config.kind == EntryKind.PROGRAM:
        return target
    forked = config.python is None and config.start_method != "spawn"
    if forked and (config.kind == EntryKind.MODULE or _is_source(config.entrypoint)):
        return None
    flags = ["-u", "-m"] if config.kind == EntryKind.MODULE else ["-u"]
    return [config.python or sys.executable, *flags, *target]


def _is_source(path: str) -> bool:
    """Not a directory or an archive with a ``__main__``."""
    try:
        zipimport.zipimporter(path)
    except zipimport.ZipImportError:
        return os.path.isfile(path)
    return False


def start_rank(
    work: Script | Sequence[str],
    highest: int,
    changes: Iterable[tuple[str, str | None]],
    inherited: set[str],
) -> int:
    """Start a rank; returns its pid, which is also its process group.

    It has its own session, as with torchrun, and is killed when this process ends. Of this process it has the handling
    of signals, the environment with these changes, and the standard descriptors; ``highest`` is the last one open here.
    Few lines run here and there, for each copies pages of memory that the ranks would share otherwise.
    OSError if no process can be made.
    """
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        kinship.on_end_of(parent, signal.SIGKILL)
        os.closerange(3, highest + 1)
        descriptors.as_before()
        signal_mask.as_before()
        change_environment(changes)
        if isinstance(work, Script):
            work.run(inherited)
        _execute(work)
    finally:
        os._exit(1)


def _execute(command: Sequence[str]) -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execvp(command[0], list(command))
    except OSError as error:
        with suppress(OSError):
            os.write(2, f"{command[0]}: cannot be executed: {error.strerror}\n".encode())
        os._exit(_CANNOT_EXECUTE)
