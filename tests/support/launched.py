"""Starts ``fake-torchrun`` as a user does, follows its output, and sees that nothing of a job is left."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support.launch_server import MARK
from tests.support.processes import DEADLINE_S, children_of, pids_with_variable, until, wait_for_exit
from tests.support.repository import ROOT
from tests.support.warm_launcher import WarmLauncher

LEFT_BEHIND_S = 30.0
"""Generous, as the machine may be busy; who is left stays for minutes."""


@dataclass(frozen=True)
class Ended:
    """A job that is over."""

    code: int
    out: str
    err: str
    wall_s: float

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class RunningJob:
    """``fake-torchrun FLAGS SCRIPT ARGUMENTS`` with its output in files."""

    def __init__(
        self,
        directory: Path,
        arguments: list[str],
        environment: dict[str, str],
        stdout: int | None,
        stderr: int | None = None,
        new_python: bool = False,
        training: bool = False,
    ) -> None:
        """``new_python``: the launcher is a new interpreter, instead of a fork of one that has imported its modules,
        and with ``training`` those of train.py, too.
        """
        self.mark = uuid.uuid4().hex
        self._begin_s = time.monotonic()
        self._out, self._err = directory / f"{self.mark}.out", directory / f"{self.mark}.err"
        variables = os.environ | {MARK: self.mark, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | environment
        variables = {name: value for name, value in variables.items() if value}
        self.process: subprocess.Popen[bytes] | WarmLauncher
        with open(self._out, "wb") as out, open(self._err, "wb") as err, open(os.devnull, "rb") as nothing:
            to_out = out.fileno() if stdout is None else stdout
            to_err = err.fileno() if stderr is None else stderr
            if new_python:
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "fake_torch_dist.run", *arguments],
                    stdin=nothing, stdout=to_out, stderr=to_err, cwd=directory, env=variables,
                )  # fmt: skip
            else:
                self.process = WarmLauncher(
                    arguments, stdin=nothing.fileno(), stdout=to_out, stderr=to_err, cwd=directory, env=variables,
                    training=training,
                )  # fmt: skip

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def out_path(self) -> Path:
        return self._out

    @property
    def err_path(self) -> Path:
        return self._err

    @property
    def out(self) -> str:
        return self._out.read_text(errors="replace")

    @property
    def err(self) -> str:
        return self._err.read_text(errors="replace")

    @property
    def agents(self) -> list[int]:
        return children_of(self.pid)

    @property
    def ranks(self) -> list[int]:
        return [rank for agent in self.agents for rank in children_of(agent)]

    def wait_for(self, text: str, count: int = 1) -> None:
        """Until it stands so often in standard output."""
        until(lambda: self.out.count(text) >= count or self.process.poll() is not None, f"{count} x {text!r}")
        assert self.out.count(text) >= count, self.out + self.err

    def end(self) -> Ended:
        """Wait for its end; nothing may be left of it."""
        if self.process.poll() is None:
            wait_for_exit(self.pid)
        code = self.process.wait(DEADLINE_S)
        ended = Ended(code, self.out, self.err, time.monotonic() - self._begin_s)
        self.assert_nothing_left()
        return ended

    def assert_nothing_left(self) -> None:
        until(lambda: not pids_with_variable(MARK, self.mark), f"processes of the job gone: {self.mark}", LEFT_BEHIND_S)

    def clean_up(self) -> None:
        for pid in pids_with_variable(MARK, self.mark):
            with suppress(OSError):
                os.kill(pid, 9)
        self.process.wait(DEADLINE_S)


class Jobs:
    """Writes scripts to a directory and runs them there."""

    def __init__(self, directory: Path, new_python: bool = False, training: bool = False) -> None:
        self.directory = directory
        self._new_python = new_python
        self._training = training
        self._running: list[RunningJob] = []

    def start(
        self, script: str, *flags: str, arguments: tuple[str, ...] = (), stdout: int | None = None,
        stderr: int | None = None, **environment: str,
    ) -> RunningJob:  # fmt: skip
        (self.directory / "job.py").write_text(script)
        words = [*flags, "job.py", *arguments]
        job = RunningJob(self.directory, words, environment, stdout, stderr, self._new_python, self._training)
        self._running.append(job)
        return job

    def run(self, script: str, *flags: str, arguments: tuple[str, ...] = (), **environment: str) -> Ended:
        return self.start(script, *flags, arguments=arguments, **environment).end()

    def clean_up(self) -> None:
        for job in self._running:
            job.clean_up()


def jobs_in(directory: Path, new_python: bool = False, training: bool = False) -> Iterator[Jobs]:
    """For a fixture."""
    jobs = Jobs(directory, new_python, training)
    try:
        yield jobs
    finally:
        jobs.clean_up()
