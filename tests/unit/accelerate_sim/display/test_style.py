"""Colours, glyphs and widths."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelerate_sim.display.style import GLYPHS, Style, columns, cut, padded


def test_colours_are_escape_codes_only_where_they_are_allowed() -> None:
    assert Style(color=True).paint("hot", "bold red") == "\x1b[1;31mhot\x1b[0m"
    assert Style(color=False).paint("hot", "bold red") == "hot"


@pytest.mark.parametrize("name", GLYPHS)
def test_every_glyph_has_an_ascii_form(name: str) -> None:
    assert Style(ascii=True).glyph(name).isascii()
    assert not Style(ascii=False).glyph(name).isascii()


def test_sentences_keep_their_sense_in_ascii() -> None:
    assert Style(ascii=True).text("8 × 42–53 µs · ß") == "8 x 42-53 us - ?"


def test_wide_characters_take_two_columns_and_combining_marks_none() -> None:
    assert columns("节点") == 4
    assert columns("e\u0301") == 1


@given(text=st.text(), width=st.integers(0, 30), ascii_only=st.booleans())
def test_cut_and_padded_text_has_the_width_asked_for(text: str, width: int, ascii_only: bool) -> None:
    short = cut(text, width, Style(ascii=ascii_only))
    assert columns(short) <= width
    assert columns(padded(short, width)) == width


def test_a_line_is_cut_by_what_is_seen_of_it() -> None:
    pieces = [("abc", "red"), ("def", "dim")]
    assert Style(color=True).line(pieces, 6) == "\x1b[31mabc\x1b[0m\x1b[2mdef\x1b[0m"
    assert Style(color=False).line(pieces, 5) == "abcd…"


def test_bars_are_drawn_in_eighths() -> None:
    assert Style().bar(0.5, 3) == "█▌"
    assert Style().bar(2.0, 3) == "███"
    assert Style(ascii=True).bar(0.5, 4) == "##"
    assert Style().bar(0.0, 3) == ""
