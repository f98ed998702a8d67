"""Kinds of fault that end or stop processes: kill, raise, exit."""

from __future__ import annotations

import signal
from collections.abc import Iterator

from accelerate_sim.faults.consequences import Death, Ending, ExitEnd, Line, RaiseEnd, SignalEnd, Truth
from accelerate_sim.faults.kind import Key, Kind
from accelerate_sim.faults.occurrence import Occurrence

NOTICED_S = 1.0
"""Seconds from the end of one rank until the launcher has ended the others."""
SIGNALS = tuple(name for name in ("KILL", "SEGV", "ABRT", "BUS", "TERM", "INT", "ILL", "FPE", "HUP", "QUIT"))


def _kill(strike: Occurrence) -> Ending:
    number = signal.Signals[f"SIG{strike.fault['signal']}"]
    return Ending(tuple(Death(rank, SignalEnd(int(number))) for rank in strike.hit.ranks), NOTICED_S)


def _raise(strike: Occurrence) -> Ending:
    error = RaiseEnd(str(strike.fault["error"]), str(strike.fault["text"]))
    return Ending(tuple(Death(rank, error) for rank in strike.hit.ranks), NOTICED_S)


def _exit(strike: Occurrence) -> Ending:
    code = strike.fault["code"]
    assert isinstance(code, int)
    return Ending(tuple(Death(rank, ExitEnd(code)) for rank in strike.hit.ranks), NOTICED_S)


def _segfault_lines(strike: Occurrence) -> Iterator[Line]:
    if strike.fault["signal"] == "SEGV":
        for rank in strike.hit.ranks:
            yield Line(f"pt_main_thread: segfault of rank {rank}", rank, "kernel")


KINDS = (
    Kind(
        name="kill", help="a process gets a signal and is gone; the others notice that it is",
        targets=("rank", "node", "gpu"),
        keys={"signal": Key("word", "KILL", "Name of the signal, without SIG.", SIGNALS)},
        ends=_kill, lines=_segfault_lines, truth=Truth("software"),
    ),
    Kind(
        name="raise", help="an exception leaves the training function: traceback, exit code 1",
        targets=("rank", "node", "gpu"),
        keys={
            "error": Key("text", "RuntimeError", "Class of the exception."),
            "text": Key("text", "injected fault", "Its text."),
        },
        ends=_raise, truth=Truth("software"),
    ),
    Kind(
        name="exit", help="a process exits with a code of its own and says nothing",
        targets=("rank", "node", "gpu"),
        keys={"code": Key("int", 3, "Exit code.", least=1, most=255)},
        ends=_exit, truth=Truth("software", quiet=True),
    ),
)  # fmt: skip
