"""Child processes of a test: start, read until something is so, wait with a deadline, kill, reap.

Every wait has a deadline and goes on reading meanwhile, so no child blocks on a full pipe. The subjects stand on top of
this file: ``train.py`` in a forked child (warm_train.py), its ranks (train_ranks.py), bodies in several worlds
(worlds.py), jobs of ``fake-torchrun`` (launched.py), another user (strangers.py), a terminal (emulator.py).
"""

from __future__ import annotations

import codecs
import mmap
import os
import select
import selectors
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NoReturn

DEADLINE_S = 60.0
"""For whatever takes well under a second on an idle machine."""
SESSION_MARK = "FAKE_TORCHRUN_TEST_SESSION"
"""Variable that every program started by this test session inherits."""
AT_SESSION_END = ExitStack()
"""Closes what several tests share, such as a store, before processes that are left are looked for."""


class Child:
    """A forked process, and the bytes that it has written to each of its pipes."""

    def __init__(self, pid: int, readers: Sequence[int]) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.written = {fd: bytearray() for fd in readers}
        self.open = {self.pidfd, *readers}
        self.exit_code: int | None = None
        """None until the process has been reaped; the negative number of the signal that killed it."""
        self.ended_s = 0.0
        """``time.monotonic()`` when it was reaped."""

    @property
    def outputs(self) -> list[bytes]:
        """Bytes from each pipe so far."""
        return [bytes(each) for each in self.written.values()]

    def text(self, pipe: int) -> str:
        """Text from a pipe so far, without a character of which only the first bytes have been read."""
        fd = list(self.written)[pipe]
        return codecs.getincrementaldecoder("utf-8")().decode(self.written[fd], fd not in self.open)

    @property
    def done(self) -> bool:
        """The process has been reaped, and nobody can write to its pipes any more."""
        return not self.open

    def send_signal(self, number: int) -> None:
        """Send a signal to the process, which must not have ended."""
        assert self.exit_code is None, f"process {self.pid} has ended with {self.exit_code}"
        signal.pidfd_send_signal(self.pidfd, number)

    def reap(self) -> None:
        """Wait for the end of the process, without a deadline."""
        status = os.waitpid(self.pid, 0)[1]
        self.exit_code, self.ended_s = os.waitstatus_to_exitcode(status), time.monotonic()


class Children:
    """``with Children() as children:`` forks processes and reads them together; the end of the block kills the rest."""

    def __init__(self, deadline_s: float = DEADLINE_S) -> None:
        self._deadline_s = deadline_s
        self._children: list[Child] = []
        self._selector = selectors.DefaultSelector()

    def fork(self, body: Callable[..., object], pipes: int = 0) -> Child:
        """Fork a child that calls ``body`` with the write ends of its pipes.

        It exits with status 0, or with 1 and a traceback on standard error if ``body`` raises.
        """
        ends = [os.pipe() for _ in range(pipes)]
        pid = os.fork()
        if pid == 0:
            self._run(body, ends)
        for _, writer in ends:
            os.close(writer)
        child = Child(pid, [reader for reader, _ in ends])
        self._children.append(child)
        for fd in child.open:
            self._selector.register(fd, selectors.EVENT_READ, child)
        return child

    def _run(self, body: Callable[..., object], ends: list[tuple[int, int]]) -> NoReturn:
        """The child's side of ``fork``."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            self._selector.close()
            for fd in (*(fd for child in self._children for fd in child.open), *(reader for reader, _ in ends)):
                os.close(fd)
            body(*(writer for _, writer in ends))
            code = 0
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(code)

    def watch(self, fd: int, on_readable: Callable[[], object]) -> None:
        """Call ``on_readable`` during every wait whenever ``fd`` can be read."""
        self._selector.register(fd, selectors.EVENT_READ, on_readable)

    def read_until(self, condition: Callable[[], object], what: str, deadline_s: float | None = None) -> None:
        """Read until ``condition()`` holds; AssertionError with the output at the deadline."""
        limit_s = self._deadline_s if deadline_s is None else deadline_s
        until_s = time.monotonic() + limit_s
        while not condition():
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                said = {child.pid: [each[-2000:] for each in child.outputs] for child in self._children}
                raise AssertionError(f"not within {limit_s:g} s: {what}; output by process: {said}")
            self._read(left_s)

    def read_what_is_there(self) -> None:
        """Read all that has been written before this call, without waiting for more."""
        end_s = time.monotonic() + self._deadline_s
        while self._read(0.0) and time.monotonic() < end_s:
            pass

    def read_for(self, seconds: float) -> None:
        """Read for a while, for what must not happen."""
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0:
            self._read(left_s)

    def wait(self) -> list[int]:
        """Read until all children are done; their exit codes."""
        self.read_until(lambda: all(child.done for child in self._children), "all children have ended")
        return [child.exit_code for child in self._children if child.exit_code is not None]

    def _read(self, timeout_s: float) -> bool:
        """Read once from each descriptor that has something within the time; False if none has."""
        ready = self._selector.select(timeout_s)
        for key, _ in ready:
            child = key.data
            if not isinstance(child, Child):
                child()
                continue
            if key.fd == child.pidfd:
                child.reap()
            elif data := os.read(key.fd, 1 << 16):
                child.written[key.fd] += data
                continue
            self.leave(key.fd)
        return bool(ready)

    def leave(self, fd: int) -> None:
        """Close a descriptor of a child on this side: a pipe that is at its end, or of which no more is to be read."""
        child = self._selector.unregister(fd).data
        child.open.remove(fd)
        os.close(fd)

    def close(self) -> None:
        """Kill and reap what is still there."""
        running = [child for child in self._children if child.exit_code is None]
        for child in running:
            child.send_signal(signal.SIGKILL)
        for child in running:
            child.reap()
        for child in self._children:
            while child.open:
                os.close(child.open.pop())
        self._selector.close()

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def exit_codes(*bodies: Callable[[], object], deadline_s: float = DEADLINE_S) -> list[int]:
    """Run each body in a child of its own; the exit codes, negative for a signal that killed."""
    with Children(deadline_s) as children:
        for body in bodies:
            children.fork(body)
        return children.wait()


def until(condition: Callable[[], object], what: str, deadline_s: float = DEADLINE_S, every_s: float = 0.005) -> None:
    """Look every few milliseconds until ``condition()`` holds: for events that no descriptor announces."""
    end_s = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end_s:
            raise AssertionError(f"not within {deadline_s:g} s: {what}")
        time.sleep(every_s)


def wait_for_exit(pid: int, deadline_s: float = DEADLINE_S) -> None:
    """Wait for the end of a process, which is not reaped: ``Popen.wait`` with a timeout looks only every 50 ms."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:  # its parent has reaped it
        return
    try:
        select.select([pidfd], [], [], deadline_s)
    finally:
        os.close(pidfd)


# --- Processes of this machine ------------------------------------------------------------------


def all_pids() -> Iterator[int]:
    """Process ids of everything that runs."""
    return (int(entry) for entry in os.listdir("/proc") if entry.isdigit())


def pids_with_variable(name: str, value: str) -> list[int]:
    """Process ids of the programs, zombies aside, that were started with this variable in their environment."""
    wanted, found = f"{name}={value}".encode(), []
    for pid in all_pids():
        with suppress(OSError):
            if wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.append(pid)
    return found


def children_of(pid: int) -> list[int]:
    """Process ids of the children of a process that has one thread."""
    with suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def state_of(pid: int) -> str:
    """Letter of the process's state as ``ps`` shows it; empty if there is no such process."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    return ""


class SessionMark:
    """A mark that every process started from now on inherits, however it is started.

    Programs inherit an environment variable. A forked child shows its parent's first environment, so it is known by
    the mapping of a file, which it inherits with the memory.
    """

    def __init__(self, file: Path) -> None:
        file.write_bytes(b"mark")
        self._path = str(file)
        with file.open("rb") as opened:
            self._mapping = mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ)
        os.environ[SESSION_MARK] = self._path

    def pids(self) -> list[int]:
        """Process ids of all that have the mark, this process and zombies aside."""
        mapped = []
        for pid in all_pids():
            with suppress(OSError):
                if self._path in Path(f"/proc/{pid}/maps").read_text():
                    mapped.append(pid)
        marked = {*mapped, *pids_with_variable(SESSION_MARK, self._path)}
        return sorted(pid for pid in marked - {os.getpid()} if state_of(pid) not in "Z")


def described(pids: Sequence[int]) -> list[str]:
    """Process id, state, parent, command line, and what it waits in and has open, of each process, for a message.

    A forked child has the command line of the test process; its descriptors tell which test it is of.
    """
    found = []
    for pid in pids:
        with suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            parent = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1]
            waits = Path(f"/proc/{pid}/wchan").read_text()
            opened = sorted({os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")})
            line = f"{pid} {state_of(pid)} {words[:200]}"
            found.append(f"{line}; child of {parent}, in {waits or '?'}, with {' '.join(opened)[:500]}")
    return found
