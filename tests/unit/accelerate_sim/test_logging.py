"""Log lines: who speaks, in what words, and where a line breaks that is too long."""

import logging
import re
from collections.abc import Iterator
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelerate_sim.display.screen import Screen
from accelerate_sim.display.style import Style, columns
from accelerate_sim.logging import ScreenHandler, fold, get_logger
from accelerate_sim.process.clock import Clock
from accelerate_sim.process.signals import Interrupts
from accelerate_sim.session.session import Session

ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
STEP = (
    "[2026-01-01 00:27:24] [Rank 0/64] INFO step 130 | loss 5.2959 | ppl 199.52 | grad_norm 0.797 | lr 1.50e-04 | "
    "tokens/s 56,630 | MFU 43.1% | mem 68.8/79.6 GiB"
)
WARNING = "[2026-01-01 00:25:33] [Rank 21/64] WARNING node2 GPU 5 is at 86 C: SM clock lowered to 1845 of 1980 MHz"


class PlainScreen(Screen):
    """Keeps the lines that it is given."""

    def __init__(self, width: int = 100_000) -> None:
        super().__init__(-1, live=False)
        self.lines: list[str] = []
        self._width = width

    @property
    def width(self) -> int:
        return self._width

    def write(self, lines: object) -> None:
        self.lines += lines  # type: ignore[operator]


def logged(color: bool, width: int = 100_000) -> Iterator[tuple[Session, list[str]]]:
    screen = PlainScreen(width)
    clock = Clock(datetime(2026, 1, 31, 23, 59, 59))
    session = Session(screen=screen, clock=clock, style=Style(color=color), interrupts=Interrupts())
    handler, root = ScreenHandler(session), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    session.begin_run(64, lambda: "")
    yield session, screen.lines
    root.removeHandler(handler)
    root.setLevel(level)


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


def test_a_line_that_fits_is_left_alone():
    assert fold(STEP, len(STEP) + 1) == [STEP]
    assert len(fold(STEP, len(STEP))) == 2, "the last column stays free"


def test_fields_stay_whole():
    assert fold(STEP, 80) == [
        "[2026-01-01 00:27:24] [Rank 0/64] INFO step 130 | loss 5.2959 | ppl 199.52",
        "                    grad_norm 0.797 | lr 1.50e-04 | tokens/s 56,630 | MFU 43.1%",
        "                    mem 68.8/79.6 GiB",
    ]


def test_a_sentence_breaks_between_words():
    assert fold(WARNING, 80) == [
        "[2026-01-01 00:25:33] [Rank 21/64] WARNING node2 GPU 5 is at 86 C: SM clock",
        "                    lowered to 1845 of 1980 MHz",
    ]


def test_a_word_that_is_too_long_breaks_anywhere():
    assert fold("[Rank 0/4] INFO /a/path/without/a/single/space/in/it", 24) == [
        "[Rank 0/4] INFO",
        "      /a/path/without/a",
        "      /single/space/in/",
        "      it",
    ]


def test_a_field_that_is_too_long_breaks_between_words_and_its_neighbours_do_not():
    assert fold("some field that is quite long | a 1 | b 2 | c 3", 20) == [
        "some field that is",
        "     quite long",
        "     a 1 | b 2",
        "     c 3",
    ]


def test_wide_characters_take_two_columns():
    lines = fold("模型" * 8, 20)
    assert all(columns(line) < 20 for line in lines)
    assert "".join(line.strip() for line in lines) == "模型" * 8


TEXT = st.lists(
    st.one_of(
        st.text("abcdefghij0123456789.,:/-", min_size=1, max_size=30),
        st.sampled_from(["|", "| ", "\x1b[32mINFO\x1b[0m", "模型", "é"]),
    ),
    max_size=40,
).map(" ".join)


@given(line=TEXT, width=st.integers(8, 200))
def test_nothing_is_wider_than_the_screen_and_nothing_is_lost(line: str, width: int):
    lines = fold(line, width)
    assert all(columns(ESCAPES.sub("", part)) < width for part in lines)
    assert solid("".join(lines)) == solid(line)


@given(line=TEXT, width=st.integers(8, 200))
def test_no_escape_is_torn(line: str, width: int):
    assert "".join(ESCAPES.findall("".join(fold(line, width)))) == "".join(ESCAPES.findall(line))
    assert all("\x1b" not in ESCAPES.sub("", part) for part in fold(line, width))


def solid(text: str) -> str:
    """Text that must not be lost: all but spaces and the bars between fields."""
    return re.sub(r"[ |]", "", text)
