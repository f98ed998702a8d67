"""``train.py`` in a child of this process, which has loaded all that it needs: what takes a new interpreter longer than
most of these runs last. It is a process of its own: streams, directory, environment, signals and exit code.

Not for how a program starts and how Python ends it; tests of these start ``python train.py`` as a user does.
"""

from __future__ import annotations

import gc
import logging
import os
import runpy
import select
import selectors
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NoReturn

import accelerate_sim.before_fork  # noqa: F401

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 60.0


class WarmTrain:
    """``with WarmTrain(arguments, environ, cwd) as process``: killed, if it is still there, and reaped at the end."""

    def __init__(self, arguments: Sequence[str], environ: Mapping[str, str], cwd: Path, merged: bool = False) -> None:
        """``merged``: standard error goes where standard output goes."""
        out, out_writer = os.pipe()
        err, err_writer = os.pipe()
        self.pid = fork_train(arguments, environ, out_writer, out_writer if merged else err_writer, cwd)
        for writer in (out_writer, err_writer):
            os.close(writer)
        self.stdout = os.fdopen(out, encoding="utf-8")
        self.stderr = os.fdopen(err, encoding="utf-8")
        self.returncode: int | None = None

    def __enter__(self) -> WarmTrain:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.returncode is None:
            self.send_signal(signal.SIGKILL)
            self.wait()
        self.stdout.close()
        self.stderr.close()

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def communicate(self) -> tuple[str, str]:
        """Everything it says from now on; AssertionError if it has not ended at the deadline."""
        said = {stream.fileno(): bytearray() for stream in (self.stdout, self.stderr)}
        until = time.monotonic() + DEADLINE_S
        with selectors.DefaultSelector() as selector:
            for fd in said:
                selector.register(fd, selectors.EVENT_READ)
            while selector.get_map():
                ready = selector.select(until - time.monotonic())
                assert ready, f"train.py was not done after {DEADLINE_S} s"
                for key, _ in ready:
                    if data := os.read(key.fd, 1 << 16):
                        said[key.fd] += data
                    else:
                        selector.unregister(key.fd)
        self.wait()
        out, err = (bytes(each).decode() for each in said.values())
        return out, err

    def wait(self) -> int:
        """Its exit code, or the negative number of the signal that killed it."""
        pidfd = os.pidfd_open(self.pid)
        try:
            assert select.select([pidfd], [], [], DEADLINE_S)[0], f"train.py has not ended within {DEADLINE_S} s"
        finally:
            os.close(pidfd)
        self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode


def run_warm(arguments: Sequence[str], environ: Mapping[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Like ``subprocess.run`` with its output captured."""
    with WarmTrain(arguments, environ, cwd) as process:
        out, err = process.communicate()
    assert process.returncode is not None
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def fork_train(arguments: Sequence[str], environ: Mapping[str, str], out: int, err: int, cwd: Path) -> int:
    """Fork ``python train.py arguments`` with these descriptors for its output; its pid."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            for number, fd in enumerate((os.open(os.devnull, os.O_RDONLY), out, err)):
                os.dup2(fd, number)
        finally:
            become_train(arguments, environ, cwd)
    return pid


def become_train(arguments: Sequence[str], environ: Mapping[str, str], cwd: Path) -> NoReturn:
    """For a child, which has its descriptors 0, 1 and 2 already."""
    code: object = 1
    gc.freeze()  # or the collector would touch, and so copy, all memory that it shares with its parent
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        logging.getLogger().handlers.clear()  # pytest's
        warnings.simplefilter("error", RuntimeWarning)  # pytest would keep it to itself; a user would see it
        sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = sys.__stderr__ = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115
        os.environ.clear()
        os.environ.update(environ)
        tempfile.tempdir = None  # it may be elsewhere in that environment
        os.chdir(cwd)
        sys.argv = [str(ROOT / "train.py"), *arguments]
        runpy.run_path(sys.argv[0], run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)
