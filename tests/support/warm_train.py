"""``train.py`` in a forked child of this process, which has imported what it needs.

A new interpreter takes longer than most of these runs last. The child is a process of its own: streams, directory,
environment, signals and exit code. Tests of how a program starts and how Python ends it start ``python train.py``.
"""

from __future__ import annotations

import gc
import importlib
import logging
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import accelerate_sim.before_fork  # noqa: F401 - children are forked after it
from tests.support.processes import Children
from tests.support.repository import ROOT


class WarmTrain:
    """``with WarmTrain(arguments, environ, cwd) as process``: killed, if it is still there, and reaped at the end."""

    def __init__(self, arguments: Sequence[str], environ: Mapping[str, str], cwd: Path, merged: bool = False) -> None:
        """``merged``: standard error goes where standard output goes."""

        def body(out: int, err: int) -> None:
            run_train(arguments, environ, cwd, out, out if merged else err)

        self._children = Children()
        self._child = self._children.fork(body, pipes=2)
        self.pid = self._child.pid
        self.send_signal = self._child.send_signal

    def __enter__(self) -> WarmTrain:
        return self

    def __exit__(self, *error: object) -> None:
        self._children.close()

    @property
    def stdout(self) -> str:
        """Standard output so far."""
        return self._child.text(0)

    @property
    def stderr(self) -> str:
        """Standard error so far."""
        return self._child.text(1)

    @property
    def raw(self) -> bytes:
        """Bytes of standard output so far, which need not be text."""
        return self._child.outputs[0]

    @property
    def lines(self) -> list[str]:
        """The whole lines of standard output so far."""
        return self.stdout.rpartition("\n")[0].splitlines()

    @property
    def returncode(self) -> int | None:
        """None before the end; negative after a signal that killed."""
        return self._child.exit_code

    def read_until(self, text: str) -> None:
        """Read until a whole line with ``text`` has been printed."""
        self.read_lines_until(lambda lines: any(text in line for line in lines), repr(text))

    def read_bytes_until(self, wanted: bytes) -> None:
        """Read until standard output has these bytes, or the process has ended."""
        self._children.read_until(lambda: wanted in self.raw or self._child.done, repr(wanted))

    def read_lines_until(self, due: Callable[[list[str]], object], what: str) -> None:
        """Read until ``due(lines)`` holds for what has been printed; the process must not end before."""
        self._children.read_until(lambda: due(self.lines) or self._child.done, what)
        assert due(self.lines), f"ended without {what}: {self.stdout}{self.stderr}"

    def wait_until(self, condition: Callable[[], object], what: str, every_s: float = 0.001) -> None:
        """Look again and again until ``condition()`` holds; the process must not end before."""
        while not condition():
            self._children.read_for(every_s)
            assert not self._child.done, f"ended without {what}: {self.stdout}{self.stderr}"

    def read_what_is_there(self) -> None:
        """Read all that has been written before this call."""
        self._children.read_what_is_there()

    def wait(self) -> int:
        """Read until it has ended; its exit code, or the negative number of the signal that killed it."""
        (code,) = self._children.wait()
        return code


def run_warm(arguments: Sequence[str], environ: Mapping[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run ``train.py`` to its end, like ``subprocess.run`` with its output captured."""
    with WarmTrain(arguments, environ, cwd) as process:
        code = process.wait()
        return subprocess.CompletedProcess(arguments, code, process.stdout, process.stderr)


def run_main(
    module: str, arguments: Sequence[str], environ: Mapping[str, str], cwd: Path
) -> subprocess.CompletedProcess[str]:
    """Run the ``main`` of a module in a forked child, like ``subprocess.run`` with its output captured."""

    def body(out: int, err: int) -> None:
        _in_session_of_its_own(out, err)
        _become([module, *arguments], environ, cwd, lambda: sys.exit(importlib.import_module(module).main()))

    with Children() as children:
        child = children.fork(body, pipes=2)
        (code,) = children.wait()
        return subprocess.CompletedProcess(arguments, code, child.text(0), child.text(1))


def run_train(arguments: Sequence[str], environ: Mapping[str, str], cwd: Path, out: int, err: int) -> NoReturn:
    """Be ``python train.py arguments`` in a forked child, in a session of its own, output on ``out``, ``err``."""
    _in_session_of_its_own(out, err)
    become_train(arguments, environ, cwd)


def _in_session_of_its_own(out: int, err: int) -> None:
    os.setsid()
    for number, fd in enumerate((os.open(os.devnull, os.O_RDONLY), out, err)):
        os.dup2(fd, number)


def become_train(arguments: Sequence[str], environ: Mapping[str, str], cwd: Path) -> NoReturn:
    """Be ``python train.py arguments`` in a forked child that has its descriptors 0, 1 and 2 already."""
    script = str(ROOT / "train.py")
    _become([script, *arguments], environ, cwd, lambda: runpy.run_path(script, run_name="__main__"))


def _become(argv: Sequence[str], environ: Mapping[str, str], cwd: Path, program: Callable[[], object]) -> NoReturn:
    """Be a Python program in a forked child, and end it."""
    code: object = 1
    gc.freeze()  # the collector would write to, and so copy, all memory that the child shares with its parent
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        logging.getLogger().handlers.clear()  # pytest's
        warnings.simplefilter("error", RuntimeWarning)  # pytest collects warnings; a user would see them
        # These are open as long as the process, as those that an interpreter opens are.
        sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = sys.__stderr__ = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115
        os.environ.clear()
        os.environ.update(environ)
        tempfile.tempdir = None  # the new environment may name another
        os.chdir(cwd)
        sys.argv = [*argv]
        program()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)
