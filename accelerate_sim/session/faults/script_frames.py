"""The calls of the user's script in a traceback, without those of the simulator, whose names would give it away."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from accelerate_sim.faults.words.python_traceback import TracebackFrame

PACKAGE = f"{Path(__file__).parents[2]}/"
SCRIPT = PACKAGE + "train.py"
"""The training script that a wheel holds, which is a script like any other."""
CALLS_SCRIPT = (PACKAGE + "session/attempt.py", "train_attempt")
"""The simulator's function that calls the script's; calls before it are of the script if they are in the same file."""


def calls_of_script() -> list[TracebackFrame]:
    """The calls from the script to here."""
    stack = traceback.extract_stack()
    shown = _shown([(each.filename, each.name) for each in stack])
    return [
        TracebackFrame(each.filename, each.lineno or 0, each.name, each.line or "")
        for each in map(stack.__getitem__, shown)
    ]


def tell_script_alone() -> None:
    """Let an exception that leaves this process show the calls of the script alone."""
    before = sys.excepthook

    def tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        shown = without_simulator(trace)
        before(kind, error.with_traceback(shown), shown)

    sys.excepthook = tell


def without_simulator(trace: TracebackType | None) -> TracebackType | None:
    """The traceback without the simulator's calls; all of it if nothing else is in it."""
    calls: list[TracebackType] = []
    while trace is not None:
        calls.append(trace)
        trace = trace.tb_next
    codes = [each.tb_frame.f_code for each in calls]
    shown = _shown([(code.co_filename, code.co_name) for code in codes]) or range(len(calls))
    found: TracebackType | None = None
    for each in map(calls.__getitem__, reversed(shown)):
        found = TracebackType(found, each.tb_frame, each.tb_lasti, each.tb_lineno)
    return found


def _shown(calls: Sequence[tuple[str, str]]) -> list[int]:
    """Places of the calls that are shown, of all calls by file and function."""
    own = [place for place, (file, _) in enumerate(calls) if file == SCRIPT or not file.startswith(PACKAGE)]
    begun = max((place for place, call in enumerate(calls) if call == CALLS_SCRIPT), default=-1)
    inner = [place for place in own if place > begun]
    if begun < 0 or not inner:
        return own
    script = calls[inner[0]][0]
    return [place for place in own if place < begun and calls[place][0] == script] + inner
