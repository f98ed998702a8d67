"""``fake-torchrun`` as a fork of an interpreter that has imported its modules, which take longer than most jobs.

A warm launcher has the arguments, environment, directory and descriptors that it is given, its real ``main``, agents
and ranks. Tests of how the launcher itself starts run ``python -m fake_torch_dist.run``.
"""

from __future__ import annotations

import json
import os
import select
import selectors
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from tests.support.launch_server import MARK, NO_MARK
from tests.support.processes import AT_SESSION_END, DEADLINE_S
from tests.support.repository import ROOT

OF_TRAINING = (
    "accelerate_sim.before_fork", "accelerate_sim.faults.planned", "accelerate_sim.session.faults.attempts",
    "accelerate_sim.session.faults.launcher_store", "accelerate_sim.session.faults.real_end",
    "accelerate_sim.session.faults.truth_log",
)  # fmt: skip
"""Modules that a launcher of train.py imports before it forks the ranks."""
OF_COLLECTIVES = ("fake_torch_dist.before_fork",)
"""Modules that a launcher of a script on ``fake_torch_dist`` imports before it forks the ranks."""
SERVER_START_S = 180.0
"""Longest time until a launcher is forked; the first one waits for the imports of its server, on a busy machine."""
READ_AT_THE_START = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_", "TQDM_")
"""Beginnings of the names of variables that an interpreter or an import reads, so that a fork does not."""


class WarmLauncher:
    """A launcher that runs, with the methods of ``subprocess.Popen`` that tests use."""

    def __init__(
        self, words: Sequence[str], *, cwd: Path, env: Mapping[str, str], stdin: int, stdout: int, stderr: int,
        training: bool = False, in_shell: bool = False,
    ) -> None:  # fmt: skip
        """``training``: its ranks run train.py, whose modules the interpreter has imported, too.

        ``in_shell``: it is the job of a shell (terminal_shell.py), whose descriptors are in the place of the others.
        Process id and exit code are then those of the shell.
        """
        environ = {MARK: NO_MARK, **env}
        started_with = tuple(sorted(item for item in environ.items() if item[0].startswith(READ_AT_THE_START)))
        asked = {"words": list(words), "environ": environ, "cwd": str(cwd), "in_shell": in_shell}
        request = json.dumps(asked).encode()
        self._status, theirs = os.pipe()
        try:
            server = _server(OF_TRAINING if training else _imported_for(words, cwd), started_with)
            socket.send_fds(server, [request], [stdin, stdout, stderr, theirs])
        finally:
            os.close(theirs)
        self.pid = self._number(SERVER_START_S)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal that killed; None before the end."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float = DEADLINE_S) -> int:
        """Wait for the end. Raises ``subprocess.TimeoutExpired``."""
        if self.returncode is None:
            self.returncode = self._number(timeout)
            os.close(self._status)
        return self.returncode

    def kill(self) -> None:
        """Kill the process if it has not ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def _number(self, timeout: float) -> int:
        if not select.select([self._status], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired("a warm launcher", timeout)
        text = os.read(self._status, 4)
        assert text, "the server of warm launchers has ended"
        return int(struct.unpack("i", text)[0])


def run_launcher(
    words: Sequence[str], *, cwd: Path, env: Mapping[str, str], timeout: float = DEADLINE_S, training: bool = True,
    stdin: int | None = None,
) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """Run ``fake-torchrun words`` to its end, like ``subprocess.run`` with its output captured.

    ``stdin`` is an open descriptor; without it the launcher reads nothing.
    """
    readers, writers = zip(os.pipe(), os.pipe(), strict=True)
    with open(os.devnull, "rb") as nothing:
        launcher = WarmLauncher(
            words, cwd=cwd, env=env, stdin=nothing.fileno() if stdin is None else stdin, stdout=writers[0],
            stderr=writers[1], training=training,
        )  # fmt: skip
    for fd in writers:
        os.close(fd)
    try:
        end_s = time.monotonic() + timeout
        out, err = _read_to_the_end(readers, end_s)
        code = launcher.wait(max(0.0, end_s - time.monotonic()))
    finally:
        launcher.kill()
        for fd in readers:
            os.close(fd)
    return subprocess.CompletedProcess(words, code, out.decode(), err.decode())


def _read_to_the_end(readers: Sequence[int], end_s: float) -> list[bytes]:
    read = {fd: bytearray() for fd in readers}
    with selectors.DefaultSelector() as selector:
        for fd in readers:
            selector.register(fd, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(0.0, end_s - time.monotonic()))
            assert ready, f"not at its end in time: {[bytes(text[-2000:]) for text in read.values()]}"
            for key, _ in ready:
                text = os.read(key.fd, 1 << 16)
                read[key.fd] += text
                if not text:
                    selector.unregister(key.fd)
    return [bytes(text) for text in read.values()]


def _imported_for(words: Sequence[str], cwd: Path) -> tuple[str, ...]:
    """Return the modules that a launcher imports for the script that these words name."""
    for word in words:
        script = cwd / word
        if script == ROOT / "train.py":
            return OF_TRAINING
        if script.suffix == ".py" and script.is_file() and b"fake_torch_dist" in script.read_bytes():
            return OF_COLLECTIVES
    return ()


@cache
def _server(modules: tuple[str, ...], started_with: tuple[tuple[str, str], ...]) -> socket.socket:
    """Start the server for launchers with these modules, and these variables that are read at the start."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    others = {name: value for name, value in os.environ.items() if not name.startswith(READ_AT_THE_START)}
    with theirs:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.support.launch_server", str(theirs.fileno()), *modules],
            env=others | dict(started_with) | {MARK: NO_MARK}, cwd=ROOT, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, pass_fds=[theirs.fileno()],
        )  # fmt: skip

    def end() -> None:
        ours.shutdown(socket.SHUT_RDWR)  # a forked child of a test that is still there may have it open, too
        ours.close()
        server.wait(DEADLINE_S)

    AT_SESSION_END.callback(end)
    return ours
