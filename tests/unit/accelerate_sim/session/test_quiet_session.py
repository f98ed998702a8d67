"""A session without the command line where ``sys.stdout`` is another stream: a test's, or that of a notebook's cell."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from types import ModuleType, SimpleNamespace

import pytest

from accelerate_sim.logging import get_logger
from accelerate_sim.progress import tqdm
from accelerate_sim.session.session import Session


def in_a_cell(written: str) -> list[str]:
    """The rows that a cell shows: after a carriage return text overwrites what stands there."""
    rows = []
    for line in written.split("\n"):
        row = ""
        for text in line.split("\r"):
            row = text + row[len(text) :]
        rows.append(row.rstrip())
    return rows


@contextmanager
def stdout_of_a_kernel() -> Iterator[io.StringIO]:
    """Another stream as ``sys.stdout``, and Python's logging as no one has configured it: without pytest's handlers."""
    root = logging.root
    level, last_resort, handlers = root.level, logging.lastResort, root.handlers
    root.handlers = []
    root.setLevel(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()) as output:
            yield output
    finally:
        root.handlers, logging.lastResort = handlers, last_resort
        root.setLevel(level)


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Session]]:
    """Makes a quiet session that is the current one until the end of the test."""

    def make() -> Session:
        monkeypatch.setattr(Session, "_current", Session.quiet())
        return Session.current()

    yield make


@pytest.fixture
def cell_ends(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[object], None]]:
    """Makes this process look like a notebook's kernel. Returns what is called at the end of a cell."""
    called: list[Callable[[object], None]] = []
    events = SimpleNamespace(register=lambda name, call: called.append(call) if name == "post_run_cell" else None)
    ipython = ModuleType("IPython")
    monkeypatch.setattr(ipython, "get_ipython", lambda: SimpleNamespace(kernel=object(), events=events), raising=False)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "tqdm.notebook", None)  # no widgets
    return called


def test_another_stdout_gets_lines_as_a_pipe_would(session: Callable[[], Session]) -> None:
    with redirect_stdout(io.StringIO()) as output:
        current = session()
        current.screen.write(["a line"])
        assert output.getvalue() == "a line\n", "at once: nobody flushes it later"
        for _ in tqdm(range(20), desc="bar", parts=2):
            pass
    _, *bars = output.getvalue().splitlines()
    assert [bar.partition("|")[0] for bar in bars] == ["bar:  50%", "bar: 100%"]
    with redirect_stdout(io.StringIO()) as another:
        current.screen.write(["for the other one"])
    assert another.getvalue() == "for the other one\n"


def test_a_cell_shows_log_lines_and_one_bar(
    session: Callable[[], Session], cell_ends: list[Callable[[object], None]]
) -> None:
    logger = get_logger("a script of the user's")
    with stdout_of_a_kernel() as output:
        current = session()
        bar = tqdm(total=4, desc="steps")
        for step in range(1, 5):
            logger.info("step %d", step)
            bar.update()
            current.screen.flush()
        assert in_a_cell(output.getvalue())[-1].startswith("steps: 100%|")
        bar.close()
        logger.info("the end")
        logging.getLogger("another package").info("of no rank")
        for end in cell_ends:
            end(None)
    rows = in_a_cell(output.getvalue())
    assert [row.partition("INFO ")[2] for row in rows[:4]] == [f"step {step}" for step in range(1, 5)]
    assert rows[4].startswith("steps: 100%|") and len(rows[4]) <= 120
    assert rows[5].endswith("INFO the end") and rows[6:] == [""]
    assert "\x1b" not in output.getvalue() and "of no rank" not in output.getvalue()


def test_a_notebook_that_configures_logging_has_its_own_lines(
    session: Callable[[], Session], cell_ends: list[Callable[[object], None]]
) -> None:
    with stdout_of_a_kernel() as output:
        current = session()
        logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(levelname)s: %(message)s")
        get_logger("a script of the user's").info("in my format")
        current.screen.flush()
        assert output.getvalue() == "INFO: in my format\n"
