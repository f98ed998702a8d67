"""Texts about a process that a signal ends: its own, if any, its shell's, and those of its peers."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import Final

from accelerate_sim.faults.words.draw import Draw
from accelerate_sim.faults.words.line import STDERR, TimedLine, block
from accelerate_sim.faults.words.python_traceback import ALL_REDUCE, TracebackFrame, traceback_text

FATAL: Final = {
    signal.SIGSEGV: "Segmentation fault",
    signal.SIGFPE: "Floating-point exception",
    signal.SIGABRT: "Aborted",
    signal.SIGBUS: "Bus error",
    signal.SIGILL: "Illegal instruction",
}
"""The signals that ``faulthandler`` reports, with its words."""

SHELL: Final = FATAL | {signal.SIGKILL: "Killed", signal.SIGTERM: "Terminated", signal.SIGHUP: "Hangup"}
DUMPS_CORE: Final = frozenset(FATAL)

HEAP: Final = ("free(): invalid pointer", "malloc(): corrupted top size", "double free or corruption (!prev)")
"""glibc's words before it aborts a process whose heap is damaged."""


def own_words(
    number: int, draw: Draw, frames: Sequence[TracebackFrame] = ALL_REDUCE, *, faulthandler: bool = False
) -> list[TimedLine]:
    """The lines of the process itself: none for most signals.

    SIGINT gives a traceback of KeyboardInterrupt. With ``faulthandler``, which torch's ranks do not enable by
    themselves, a fatal signal gives the stack of the current thread.
    """
    if number == signal.SIGINT:
        return block(0.0, STDERR, traceback_text("KeyboardInterrupt", frames))
    if not faulthandler or number not in FATAL:
        return []
    stack = "\n".join(f'  File "{frame.file}", line {frame.line} in {frame.function}' for frame in reversed(frames))
    thread = f"Current thread 0x{0x7F0000000000 | draw.bits('thread', 30) << 8:016x} (most recent call first):"
    return block(0.0, STDERR, f"Fatal Python error: {FATAL[signal.Signals(number)]}\n\n{thread}\n{stack}")


def damaged_heap(draw: Draw) -> list[TimedLine]:
    """The line of glibc before SIGABRT."""
    return [TimedLine(0.0, STDERR, draw.one_of("heap", HEAP))]


def shell_line(script: str, line: int, pid: int, number: int, command: str) -> str:
    """The line of bash about a command that a signal ended, in bash's columns."""
    word = SHELL[signal.Signals(number)]
    core = "(core dumped) " if number in DUMPS_CORE else ""
    return f"{script}: line {line}: {pid} {word:<23s} {core}{command}"


CHECK_LOGS: Final = "Check the logs of the remote worker before reporting an error. GLHF! \N{BEACH WITH UMBRELLA}\ufe0f"
PAIR: Final = "/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc"


def gloo_closed(ip: str, port: int) -> str:
    """The message of a gloo peer of a killed rank, whose connection was closed."""
    cause = "This is typically caused by a remote worker crashing."
    return f"[{PAIR}:553] Connection closed by peer [{ip}]:{port}. {cause} {CHECK_LOGS}"


def gloo_reset(ip: str, port: int) -> str:
    """The message of a gloo peer of a killed rank, whose connection was reset; the two are equally frequent."""
    cause = "This is typically caused by a remote worker hanging or bugs in the application."
    return f"[{PAIR}:537] Read error [{ip}]:{port}: Connection reset by peer. {cause} {CHECK_LOGS}"


def gloo_timeout(timeout_ms: int, *, sends: bool = False) -> str:
    """The message of a gloo peer that waited for a rank that hangs."""
    call, line = ("send", 129) if sends else ("recv", 78)
    file = "/pytorch/third_party/gloo/gloo/transport/tcp/unbound_buffer.cc"
    return f"[{file}:{line}] Timed out waiting {timeout_ms}ms for {call} operation to complete"
