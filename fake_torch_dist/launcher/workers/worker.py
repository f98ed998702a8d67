"""Starts the process of one rank: a fork of the prepared interpreter that runs the script, or a program."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from fake_torch_dist.launcher.commandline.config import EntryKind, LaunchConfig
from fake_torch_dist.launcher.entrypoint.streamed_script import STANDARD_INPUT, handed_on
from fake_torch_dist.launcher.workers import descriptors, linux_processes, signal_mask, start_gate
from fake_torch_dist.launcher.workers.debugger import fork
from fake_torch_dist.launcher.workers.rank_environment import change_environment
from fake_torch_dist.launcher.workers.start_method import forked_sources

if TYPE_CHECKING:
    from fake_torch_dist.launcher.workers.script import Script

_CANNOT_EXECUTE: Final = 126
_RUN_PATH: Final = (
    "import os, runpy, sys; del sys.argv[0]; "
    "sys.flags.safe_path or sys.path.__setitem__(0, os.path.dirname(os.path.realpath(sys.argv[0]))); "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)
"""Program of a fresh interpreter for ``--run-path``. ``python -c`` puts its own argument before the script's."""


@dataclass(frozen=True)
class Command:
    """Program that a rank executes in place of a fork of the script."""

    words: tuple[str, ...]
    """Program and arguments."""
    source: bytes | None = None
    """Bytes that each rank finds on descriptor ``source_fd``; None if there are none."""
    source_fd: int = 0


def work_of(config: LaunchConfig) -> Script | Command:
    """Return what each rank runs. For ranks that are forked, this process has imported their modules afterwards."""
    sources = forked_sources(config)
    if sources is None:
        return command(config)
    from fake_torch_dist.launcher.workers.script import prepared_script  # not needed for ranks that are no forks

    return prepared_script(config, sources)


def command(config: LaunchConfig) -> Command:
    """Return program and arguments of a rank that is no fork."""
    target, number = (config.entrypoint, 0) if config.source is None else handed_on(config)
    if config.kind != EntryKind.PROGRAM and target.startswith("-") and target != STANDARD_INPUT:
        target = os.path.join(os.curdir, target)  # no option of Python
    words = [target, *config.arguments]
    if config.kind == EntryKind.PROGRAM:
        return Command(tuple(words))
    flags = ["-u"]
    if config.kind == EntryKind.MODULE:
        flags += ["-m"]
    if config.kind == EntryKind.RUN_PATH:
        flags += ["-c", _RUN_PATH]
    return Command((config.python or sys.executable, *flags, *words), config.source, number)


def start_rank(
    work: Script | Command,
    highest: int,
    changes: Iterable[tuple[str, str | None]],
    inherited: set[str],
    gate: int,
) -> int:
    """Start a rank; returns its pid, which is also its process group.

    The rank has its own session, as with torchrun, and is killed when this process ends. It inherits this process's
    handling of signals, its environment with ``changes``, and the standard descriptors; ``highest`` is the highest
    open descriptor. It goes on when descriptor ``gate`` lets it. Little is done here, since each line copies pages of
    memory that the ranks would share otherwise.
    Raises OSError if no process can be made.
    """
    parent = os.getpid()
    pid = fork()
    if pid:
        return pid
    try:
        os.setsid()
        linux_processes.set_parent_death_signal(parent, signal.SIGKILL)
        os.closerange(3, gate)
        os.closerange(gate + 1, highest + 1)
        descriptors.restore_limit()
        signal_mask.restore()
        change_environment(changes)
        start_gate.wait_and_close(gate)
        if isinstance(work, Command):
            _execute(work)
        work.run(inherited)
    finally:
        os._exit(1)


def _execute(command: Command) -> NoReturn:
    for number in (
        signal.SIGINT,
        signal.SIGPIPE,
        signal.SIGXFSZ,
    ):  # Python sets its own handling, which is not for other programs
        signal.signal(number, signal.SIG_DFL)
    program = command.words[0]
    try:
        if command.source is not None:
            _hand_on(command.source, command.source_fd)
        os.execvp(program, command.words)
    except OSError as error:
        descriptors.write_descriptor_2(f"{program}: cannot be executed: {error.strerror}\n")
        os._exit(_CANNOT_EXECUTE)


def _hand_on(source: bytes, number: int) -> None:
    """Open a file with these bytes as descriptor ``number``, for the program that is executed."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("script")
    else:
        import tempfile

        with tempfile.TemporaryFile() as empty:
            fd = os.dup(empty.fileno())
    with open(fd, "wb", closefd=False) as file:
        file.write(source)
    os.lseek(fd, 0, os.SEEK_SET)
    if fd == number:
        os.set_inheritable(fd, True)
    else:
        os.dup2(fd, number)
