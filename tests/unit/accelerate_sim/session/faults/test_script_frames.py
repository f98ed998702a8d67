"""A traceback of a fault shows the calls of the user's script, and none of the simulator."""

from __future__ import annotations

import traceback
from types import TracebackType

from accelerate_sim.session.faults.script_frames import PACKAGE, calls_of_script, without_simulator

IN_STRIKE = compile("def strike():\n    raise RuntimeError('x')\n", PACKAGE + "session/faults/real_end.py", "exec")
IN_ATTEMPT = compile("def train_attempt(train):\n    train()\n", PACKAGE + "session/attempt.py", "exec")
IN_SCRIPT = compile("def main():\n    strike()\n\ndef begin():\n    launch()\n", "/home/me/train.py", "exec")
IN_OTHER = compile("def launch():\n    train_attempt(main)\n", "/opt/venv/site-packages/typer/main.py", "exec")


def caught() -> TracebackType | None:
    names: dict[str, object] = {}
    for code in (IN_STRIKE, IN_ATTEMPT, IN_SCRIPT, IN_OTHER):
        exec(code, names)
    try:
        names["begin"]()
    except RuntimeError as error:
        return error.__traceback__
    raise AssertionError


def test_calls_of_the_script_stay_and_those_of_what_calls_it_go() -> None:
    shown = traceback.extract_tb(without_simulator(caught()))
    assert [(each.filename, each.name, each.lineno) for each in shown] == [
        ("/home/me/train.py", "begin", 5), ("/home/me/train.py", "main", 2)
    ]  # fmt: skip


def test_a_traceback_of_the_simulator_alone_is_whole() -> None:
    trace = caught()
    assert trace
    while trace.tb_next:
        trace = trace.tb_next
    assert without_simulator(trace) is not None
    assert len(traceback.extract_tb(without_simulator(trace))) == 1
    assert without_simulator(None) is None


def test_the_calls_to_here_are_those_of_the_caller() -> None:
    frames = calls_of_script()
    assert frames[-1].function == "test_the_calls_to_here_are_those_of_the_caller"
    assert frames[-1].source == "frames = calls_of_script()"
    assert not [frame for frame in frames if frame.file.startswith(PACKAGE)]
