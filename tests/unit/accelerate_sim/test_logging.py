"""Log lines: time, rank, level and message, and which rank logs them."""

import logging
import re
from collections.abc import Iterator, Sequence
from datetime import datetime

import pytest

from accelerate_sim.config.schema import RunConfig
from accelerate_sim.display.screen import Screen
from accelerate_sim.display.style import Style
from accelerate_sim.logging import get_logger
from accelerate_sim.process.clock import Clock
from accelerate_sim.process.signals import Signals
from accelerate_sim.session.log_handler import ScreenHandler, logging_to
from accelerate_sim.session.planned_run import PlannedRun
from accelerate_sim.session.session import Session
from accelerate_sim.sim.plan import Plan

ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


class PlainScreen(Screen):
    """Keeps the lines that it is given."""

    def __init__(self, width: int = 100_000) -> None:
        super().__init__(-1, live=False)
        self.lines: list[str] = []
        self._width = width

    @property
    def width(self) -> int:
        return self._width

    def write(self, lines: Sequence[str]) -> None:
        self.lines += lines


def logged(color: bool, width: int = 100_000) -> Iterator[tuple[Session, list[str]]]:
    screen = PlainScreen(width)
    clock = Clock(datetime(2026, 1, 31, 23, 59, 59))
    session = Session(screen=screen, clock=clock, style=Style(color=color), signals=Signals())
    session.plan_run(PlannedRun(Plan(RunConfig())))
    level = logging.getLogger().level
    with logging_to(session):
        yield session, screen.lines
    logging.getLogger().setLevel(level)


@pytest.fixture
def plain() -> Iterator[tuple[Session, list[str]]]:
    yield from logged(color=False)


@pytest.fixture
def colored() -> Iterator[tuple[Session, list[str]]]:
    yield from logged(color=True)


def test_a_line_says_when_who_how_bad_and_what(plain: tuple[Session, list[str]]):
    session, lines = plain
    logger = get_logger("test")
    logger.info("hello %s", "world")
    session.clock.advance(1.0)
    logger.warning("too hot", rank=21)
    logging.getLogger("another").error("a library speaks")
    assert lines == [
        "[2026-01-31 23:59:59] [Rank 0/64] INFO hello world",
        "[2026-02-01 00:00:00] [Rank 21/64] WARNING too hot",
        "[2026-02-01 00:00:00] [Rank 0/64] ERROR a library speaks",
    ]


def test_accelerates_arguments_are_understood(plain: tuple[Session, list[str]]):
    get_logger("test", log_level="info").info("from all", main_process_only=False, in_order=True)
    assert plain[1] == ["[2026-01-31 23:59:59] [Rank 0/64] INFO from all"]


def test_colours_say_how_bad_it_is(colored: tuple[Session, list[str]]):
    get_logger("test").info("all is well")
    get_logger("test").warning("hot")
    info, warning = colored[1]
    assert "\x1b[32mINFO\x1b[0m all is well" in info
    assert "\x1b[33mWARNING\x1b[0m \x1b[33mhot\x1b[0m" in warning
    assert ESCAPES.sub("", warning) == "[2026-01-31 23:59:59] [Rank 0/64] WARNING hot"


@pytest.mark.parametrize("name, value", [("NO_COLOR", "1"), ("FORCE_COLOR", "1"), ("NO_COLOR", "")])
def test_the_session_decides_about_colours_alone(monkeypatch: pytest.MonkeyPatch, name: str, value: str):
    monkeypatch.setenv(name, value)
    for color in (False, True):
        for _, lines in logged(color=color):
            get_logger("test").info("hello")
            assert ("\x1b" in lines[0]) == color


class Reader(logging.Handler):
    """Keeps the messages of the records that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def test_a_line_of_the_console_is_the_same_with_and_without_another_reader(plain: tuple[Session, list[str]]):
    session, lines = plain
    others = [each for each in logging.root.handlers if not isinstance(each, ScreenHandler)]
    reader = Reader()
    for other in others:  # pytest's own handlers read all records
        logging.root.removeHandler(other)
    try:
        for each in (None, reader):
            if each:
                logging.root.addHandler(each)
            session.clock.advance(0.75)
            session.console.log(logging.INFO, "step 10 | 100 % of it", 3, None)
            session.console.log(logging.WARNING, "late", 5, datetime(2026, 1, 31, 12, 0, 0, 999_999))
            session.console.log(logging.DEBUG, "unseen", 0, None)
    finally:
        logging.root.removeHandler(reader)
        for other in others:
            logging.root.addHandler(other)
    assert lines == [
        "[2026-01-31 23:59:59] [Rank 3/64] INFO step 10 | 100 % of it",
        "[2026-01-31 12:00:00] [Rank 5/64] WARNING late",
        "[2026-02-01 00:00:00] [Rank 3/64] INFO step 10 | 100 % of it",
        "[2026-01-31 12:00:00] [Rank 5/64] WARNING late",
    ]
    assert reader.messages == ["step 10 | 100 % of it", "late"]
