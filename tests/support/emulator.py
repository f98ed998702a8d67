"""A terminal for tests: a command in a pty, its output on a pyte screen, keys and signals on their way back.

Nothing sleeps and hopes: whatever is waited for has a deadline, and reading goes on meanwhile. The command runs under a
little shell (a session leader that starts it as a foreground job and reports when it stops, goes on or ends), because a
process without such a parent can't be stopped by Ctrl-Z.
"""

import codecs
import fcntl
import os
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import NoReturn

import pyte
from pyte.screens import Char

from tests.support.processes import Children, state_of, until
from tests.support.repository import ROOT
from tests.support.terminal_shell import END_OF_OUTPUT, SHELL_SAYS, run_shell
from tests.support.warm_launcher import WarmLauncher
from tests.support.warm_train import become_train

DEADLINE_S = 60.0
"""Far more than anything takes, even on a machine that is busy with something else."""
CTRL_C, CTRL_Z = "\x03", "\x1a"
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
FRAME_END = re.compile(rb"\x1b\[J\r(\x1b\[\d+A)?(\x1b\[\?2026l)?")
WARM = "train.py in a child of this process"
WARM_LAUNCHER = "fake-torchrun in a child of its server"
_CLEARED = ("LC_ALL", "LC_CTYPE", "PYTHONIOENCODING", "PYTHONUTF8")


def train_command(*arguments: str) -> list[str]:
    """``python train.py`` with arguments, as this interpreter runs it."""
    return [sys.executable, str(ROOT / "train.py"), *arguments]


def warm_train(*arguments: str) -> list[str]:
    """The same for a ``Terminal``, without the start of an interpreter."""
    return [WARM, *arguments]


def warm_launcher(*arguments: str) -> list[str]:
    """``fake-torchrun`` with arguments for a ``Terminal``, without the start of an interpreter."""
    return [WARM_LAUNCHER, *arguments]


def environment(changes: Mapping[str, str | None] | None = None) -> dict[str, str]:
    """This process's environment as a user's: an ordinary terminal, UTF-8. A change to None takes a variable away."""
    result = {name: value for name, value in os.environ.items() if name not in _CLEARED}
    for name, value in ({"TERM": "xterm-256color", "LANG": "C.UTF-8"} | dict(changes or {})).items():
        result.pop(name, None)
        if value is not None:
            result[name] = value
    return result


class Terminal:
    """``with Terminal(command, 80, 24) as terminal:`` runs the command until the block ends, and cleans up after it."""

    def __init__(
        self,
        command: Sequence[str],
        columns: int = 80,
        lines: int = 24,
        env: Mapping[str, str | None] | None = None,
        told_size: tuple[int, int] | None = None,
    ) -> None:
        """``told_size``: columns and lines that the pty reports, if it reports others than it has."""
        self.screen = pyte.HistoryScreen(columns, lines, history=100_000, ratio=0.5)
        self.stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self._unshown = b""
        self.chunks: list[bytes] = []
        self.reading = True
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._written, self._cut = "", ""
        self._events = b""
        self._code: int | None = None
        self._started_at = time.monotonic()
        self._start(list(command), environment(env), told_size or (columns, lines))

    def _start(self, command: list[str], env: dict[str, str], size: tuple[int, int]) -> None:
        self._master, slave = os.openpty()
        self._name = os.ttyname(slave)
        _set_size(slave, *size)
        self._events_fd, events = os.pipe()
        orders, self._orders = os.pipe()

        def body() -> None:
            for fd in (self._master, self._events_fd, self._orders):
                os.close(fd)
            run_shell(lambda: _become(command, env), slave, events, orders)

        self._children = Children()
        self._launcher: WarmLauncher | None = None
        if command[0] == WARM_LAUNCHER:
            self._launcher = WarmLauncher(
                command[1:], cwd=ROOT, env=env, stdin=slave, stdout=events, stderr=orders, in_shell=True
            )
        else:
            self._children.fork(body)
        for fd in (slave, events, orders):
            os.close(fd)
        self.pid = int(self._event("pid"))

    # --- Time -----------------------------------------------------------------------------------

    def wait_until(self, condition: Callable[[], object], what: str = "", deadline_s: float = DEADLINE_S) -> None:
        """Read until ``condition()`` holds."""
        end = time.monotonic() + deadline_s
        while not condition():
            if self._show():
                continue
            left = end - time.monotonic()
            if left <= 0:
                raise AssertionError(f"waited {deadline_s} s in vain for {what or condition}; screen:\n{self.text}")
            self._read(min(left, 0.05))

    def wait_for(self, text: str, deadline_s: float = DEADLINE_S) -> None:
        """Read until ``text`` has been written, in whatever colours."""
        self.wait_until(lambda: text in self._written, repr(text), deadline_s)

    def read_for(self, seconds: float) -> None:
        """Go on reading for a while: for things that are not to happen."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._read(min(left, 0.05))
            while self._show():
                pass

    def wait_until_full(self, deadline_s: float = DEADLINE_S) -> None:
        """Read nothing until the terminal takes no more output, or the command has ended."""
        fd = os.open(self._name, os.O_WRONLY | os.O_NOCTTY)
        try:
            until(
                lambda: not select.select([], [fd], [], 0)[1] or state_of(self.pid) in "Z",
                "the terminal takes no more output",
                deadline_s,
            )
        finally:
            os.close(fd)

    def next_frames(self, count: int = 2) -> None:
        """Read until at least ``count`` more chunks have arrived."""
        target = len(self.chunks) + count
        self.wait_until(lambda: len(self.chunks) >= target, f"{count} frames")

    def _read(self, seconds: float) -> None:
        fds = [self._events_fd, *([self._master] if self.reading else [])]
        ready = select.select(fds, [], [], seconds)[0]
        if self._master in ready:
            try:
                data = os.read(self._master, 4096)
            except OSError:  # EIO: nobody has the other end open any more
                data = b""
            self._unshown += data.removesuffix(END_OF_OUTPUT)
            self.reading = bool(data) and not data.endswith(END_OF_OUTPUT)
        if self._events_fd in ready:
            self._events += os.read(self._events_fd, 4096)

    def _show(self) -> bool:
        """Put the next frame that has been read on the screen, or what there is of it. False if there is nothing."""
        end = FRAME_END.search(self._unshown)
        data = self._unshown[: end.end() if end else None]
        self._unshown = self._unshown[len(data) :]
        if data:
            self.raw += data
            self.chunks.append(data)
            self.stream.feed(data)
            self._take_text(data)
        return bool(data)

    def _take_text(self, data: bytes) -> None:
        text = self._cut + self._decoder.decode(data)
        last = text.rfind("\x1b")
        # An escape sequence may be cut in two.
        end = len(text) if last < 0 or ESCAPES.match(text, last) else last
        self._written += ESCAPES.sub("", text[:end])
        self._cut = text[end:]

    def _event(self, name: str, deadline_s: float = DEADLINE_S) -> str:
        """Wait for the shell to report ``name``; returns what it says of it."""
        self.wait_until(lambda: self._said(name), name, deadline_s)
        found = self._said(name)
        assert found
        self._events = self._events[: found.start()] + b"\n" + self._events[found.end() :]
        return found[1].decode()

    def _said(self, name: str) -> re.Match[bytes] | None:
        return re.search(rb"(?:^|\n)" + name.encode() + rb" (-?\d+)\n", self._events)

    # --- What goes in ---------------------------------------------------------------------------

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def send(self, number: int) -> None:
        """A signal to the command."""
        os.kill(self.pid, number)

    def resize(self, columns: int, lines: int) -> None:
        """As a window does: the new size, and SIGWINCH (which the kernel sends to the foreground job)."""
        self.screen.resize(lines, columns)
        _set_size(self._master, columns, lines)

    def wait_stopped(self) -> None:
        """Until the command is stopped and the shell has said so on the terminal."""
        self._event("stopped")
        self.wait_until(lambda: self.used_lines[-2:] == [SHELL_SAYS, "$"], "the shell's prompt")

    def foreground(self) -> None:
        """``fg``"""
        os.write(self._orders, b"f")
        self._event("continued")

    def hang_up(self) -> None:
        """Close the window."""
        os.close(self._master)
        self._master, self.reading = -1, False

    # --- What comes out -------------------------------------------------------------------------

    @property
    def lines(self) -> list[str]:
        """The screen, without spaces at the ends."""
        return [self._line(self.screen.buffer[y]) for y in range(self.screen.lines)]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def used_lines(self) -> list[str]:
        """The screen down to the last line in use."""
        return self.text.rstrip("\n").split("\n")

    @property
    def scrollback(self) -> list[str]:
        return [self._line(line) for line in self.screen.history.top]

    def _line(self, line: Mapping[int, Char]) -> str:
        return "".join([line[x].data for x in range(self.screen.columns)]).rstrip()

    @property
    def everything(self) -> str:
        return "\n".join([*self.scrollback, *self.lines])

    @property
    def cursor(self) -> tuple[int, int]:
        """(column, line), from 0."""
        return self.screen.cursor.x, self.screen.cursor.y

    def exit_code(self, deadline_s: float = DEADLINE_S) -> int:
        """Wait for the end. As Python's subprocess has it: negative for a signal that killed it.

        All is read before any of it is shown: a command that ends gives up on a reader that takes nothing for a while.
        """
        if self._code is None:
            end = time.monotonic() + deadline_s
            while not self._said("ended") and (left := end - time.monotonic()) > 0:
                self._read(min(left, 0.05))
            self._code = int(self._event("ended", 0.0))
            self.wait_until(lambda: not self.reading, "last output")
            while self._show():
                pass
        return self._code

    @property
    def keyboard(self) -> list[object]:
        """Settings of the terminal for keys, as ``termios`` returns them."""
        return termios.tcgetattr(self._master)

    # --- The end --------------------------------------------------------------------------------

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._children.close()
        if self._launcher:
            self._launcher.kill()
            self._launcher.wait()
        for fd in (self._master, self._events_fd, self._orders):
            if fd >= 0:
                os.close(fd)


def _become(command: list[str], env: dict[str, str]) -> NoReturn:
    """Be the command in the job of a shell."""
    if command[0] == WARM:
        become_train(command[1:], env, ROOT)
    os.chdir(ROOT)
    os.execve(command[0], command, env)


def _set_size(fd: int, columns: int, lines: int) -> None:
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


# --- What is looked for ---------------------------------------------------------------------------

LEFT_BEHIND = re.compile(
    r"((?:Loading|Initializing) weights|Merging weights|Optimizing for|Serializing to|Writing shards).*: 100%\|"
)
"""Bars that are done and stay in the scrollback, as tqdm's do."""
BAR_PIECE = re.compile(r"%\||[█▏▎▍▌▋▊▉]|\d:\d\d<[\d?]")
STEP_BAR = re.compile(
    r"(?P<n>\d+)/(?P<total>\d+) \[?(?P<elapsed>[\d:]+)<(?P<remaining>[\d:]+)\b.*"
    r"loss=(?P<loss>\d+\.\d{4}),? ppl=(?P<ppl>\d+\.\d\d),? "
    r"lr=(?P<lr>\d\.\d\de[+-]\d\d),? tok/s=(?P<rate>[\d,.]+[kM]?)\]?$"
)


def stale_bars(lines: Sequence[str]) -> list[str]:
    """Lines with a bar, or a piece of one, that have no business above the live lines."""
    return [line for line in lines if BAR_PIECE.search(line) and not LEFT_BEHIND.match(line)]


def is_training(terminal: Terminal) -> bool:
    """True if a frame is complete and its last lines are the bars of epoch and step, with nothing like them above."""
    *above, epoch, step = ["", *terminal.used_lines]
    return (
        epoch.startswith("Training: ")
        and STEP_BAR.search(step) is not None
        and terminal.cursor == (0, len(above) - 1)
        and not stale_bars(above)
    )


def step_figures(terminal: Terminal) -> dict[str, str]:
    """Fields of the step bar."""
    found = STEP_BAR.search(terminal.used_lines[-1])
    assert found, terminal.text
    return found.groupdict()


def seconds(text: str) -> int:
    """``1:02:03`` or ``02:03`` in seconds."""
    result = 0
    for part in text.split(":"):
        result = result * 60 + int(part)
    return result


def widest_line(raw: bytes) -> int:
    """Columns of the widest line that was written, colours and cursor movements aside."""
    return max(len(ESCAPES.sub("", line)) for line in re.split(r"[\r\n]+", raw.decode()))
