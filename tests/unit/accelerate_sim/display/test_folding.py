"""Log lines that are too long break between fields or words, and lose nothing."""

import re

from hypothesis import given
from hypothesis import strategies as st

from accelerate_sim.display.folding import cut, fold
from accelerate_sim.display.style import columns

ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
STEP = (
    "[2026-01-01 00:27:24] [Rank 0/64] INFO step 130 | loss 5.2959 | ppl 199.52 | grad_norm 0.797 | lr 1.50e-04 | "
    "tokens/s 56,630 | MFU 43.1% | mem 68.8/79.6 GiB"
)
WARNING = "[2026-01-01 00:25:33] [Rank 21/64] WARNING node2 GPU 5 is at 86 C: SM clock lowered to 1845 of 1980 MHz"


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


def test_a_line_of_a_framework_is_cut_as_a_terminal_cuts_it() -> None:
    assert cut("a" * 5, 6) == ["aaaaa"]
    assert cut("one | two | three", 9) == ["one | tw", "o | thre", "e"]
    assert cut("\x1b[31m12345\x1b[39m6", 5) == ["\x1b[31m1234", "5\x1b[39m6"]
