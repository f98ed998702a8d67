"""One rank's process: forked from the warm interpreter to run the script, or exec'ed."""

from __future__ import annotations

import os
import signal
import sys
import zipimport
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final, NoReturn

from ..commandline.config import EntryKind, LaunchConfig
from . import descriptors, kinship
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


def start_rank(work: Script | Sequence[str], stdout: int, stderr: int, inherited: set[str]) -> int:
    """Start a rank whose output goes to these descriptors; returns its pid, which is also its process group.

    It has its own session, as with torchrun, and is killed when this process ends. It takes over the environment and
    the handling of signals as they are: whatever it had to change would be pages of its own, in each of many ranks.
    OSError if no process can be made.
    """
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        kinship.on_end_of(parent, signal.SIGKILL)
        _take_descriptors(stdout, stderr)
        if isinstance(work, Script):
            work.run(inherited)
        _execute(work)
    finally:
        os._exit(1)


def _take_descriptors(stdout: int, stderr: int) -> None:
    """Only the standard descriptors, and no more of them than the launcher was allowed."""
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    descriptors.close_all_but()
    descriptors.as_before()


def set_environment(variables: Mapping[str, str]) -> None:
    """Have these variables and no others."""
    for name in [name for name in os.environ if name not in variables]:
        del os.environ[name]
    for name, value in variables.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def _execute(command: Sequence[str]) -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execvp(command[0], list(command))
    except OSError as error:
        with suppress(OSError):
            os.write(2, f"{command[0]}: cannot be executed: {error.strerror}\n".encode())
        os._exit(_CANNOT_EXECUTE)
