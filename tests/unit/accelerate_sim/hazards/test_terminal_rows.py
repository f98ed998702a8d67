"""Rows of characters that bytes leave on a terminal."""

from __future__ import annotations

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelerate_sim.hazards.terminal_rows import TerminalRows

WIDTH = 21
"""Columns of the terminal; rows end one before."""


def rows_of(*writes: bytes, width: int = WIDTH) -> list[str]:
    rows = TerminalRows(lambda: width)
    return [row for write in writes for row in rows.feed(write)] + rows.close()


@pytest.mark.parametrize(
    ("writes", "want"),
    [
        ([b"one\ntwo\n"], ["one", "two"]),
        ([b"on", b"e\ntw", b"o"], ["one", "two"]),
        (["█".encode()[:1], "█".encode()[1:], b"\n"], ["█"]),
        ([b"a\xff\n"], ["a\ufffd"]),
        ([b"\0\0a\n"], ["a"]),
        ([b"\r50%|##  |\r         \rloss 2\n"], ["loss 2"]),
        ([b"long words\rshort\n"], ["shortwords"]),
        ([b"bar 1\n\rbar 22\x1b[A\r     \rline\nnext\n"], ["line", "next22"]),
        ([b"a\tb\n"], ["a       b"]),
        ([b"x" * 45 + b"\n"], ["x" * 20, "x" * 20, "x" * 5]),
        ([b"x" * 20 + b"\n\ny\n"], ["x" * 20, "", "y"]),
        (["\u4f60".encode() * 11 + b"\n"], ["\u4f60" * 10, "\u4f60"]),
        ([b"\x1b[31mred\x1b[0m\n"], ["\x1b[31mred\x1b[0m"]),
        ([b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\\n"], ["\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\"]),
        ([b""], []),
    ],
)
def test_rows_are_those_that_a_terminal_shows(writes: list[bytes], want: list[str]) -> None:
    assert rows_of(*writes) == want


def test_rows_above_the_cursor_are_given_at_once_and_the_others_at_the_end() -> None:
    rows = TerminalRows(lambda: WIDTH)
    assert rows.feed(b"done\ntor") == ["done"]
    assert rows.feed(b"n\n") == ["torn"]
    assert rows.feed(b"held") == []
    assert rows.close() == ["held"]
    assert rows.close() == []


def test_a_line_of_256_kib_is_wrapped() -> None:
    rows = rows_of(b"x" * 262_144 + b"\n", width=80)
    assert [len(row) for row in rows] == [79] * 3318 + [22]


PIECES = st.sampled_from(["a", "loss 2.5", "\r", "\n", "\n", "█", "\x1b[32m", "\x1b[0m", "    "])
MOST_PIECES = 30
WIDTH, HEIGHT = 8 * MOST_PIECES + 10, MOST_PIECES + 1
"""Room for the longest line and for all lines."""


def lines_of(screen: pyte.Screen) -> list[str]:
    """The lines of ``screen.display`` without the spaces at their ends, from the cells that were written."""
    rows = [screen.buffer[number] for number in range(HEIGHT)]
    return ["".join(row[column].data for column in range(max(row, default=-1) + 1)).rstrip() for row in rows]


@given(st.lists(PIECES, max_size=MOST_PIECES))
def test_a_terminal_emulator_shows_the_same(pieces: list[str]) -> None:
    text = "".join(pieces)
    screen = pyte.Screen(WIDTH, HEIGHT)
    pyte.Stream(screen).feed(text.replace("\n", "\r\n"))
    shown = pyte.Screen(WIDTH, HEIGHT)
    pyte.Stream(shown).feed("\r\n".join(rows_of(text.encode(), width=WIDTH)))
    assert lines_of(shown) == lines_of(screen)
