"""A rank's output can colour a terminal and set links on it, and do nothing else to it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_torch_dist.terminal.escapes import clipped, divided, only_colors, place_after, width_of

ALLOWED = re.compile(
    r"\x1b\[[0-9;:]*m|\x1b\]8;[^\x00-\x1f\x7f-\x9f\udc80-\udc9f]*\x1b\\|[\t\n]|[^\x00-\x1f\x7f-\x9f\udc80-\udc9f]"
)
LINK, NO_LINK = b"\x1b]8;;https://example.org\x1b\\", b"\x1b]8;;\x1b\\"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (b"plain\ttext\n", b"plain\ttext\n"),
        ("naïve — ✓ 漢字\n".encode(), "naïve — ✓ 漢字\n".encode()),
        (b"\xff\xfe no text\n", b"\xff\xfe no text\n"),
        (b"\x1b[1;38;5;9mred\x1b[0m\n", b"\x1b[1;38;5;9mred\x1b[0m\n"),
        (LINK + b"here" + NO_LINK + b"\n", LINK + b"here" + NO_LINK + b"\n"),
        (LINK + b"open\nnext\n", LINK + b"open" + NO_LINK + b"\nnext\n"),
        (b"\x1b]8;id=1;https://example.org\x07x" + NO_LINK, b"\x1b]8;id=1;https://example.org\x1b\\x" + NO_LINK),
        (b"a\x1b]0;title\x07b\n", b"ab\n"),
        (b"a\x1b]2;title\x1b\\b\n", b"ab\n"),
        (b"a\x1b]52;c;cm0gLXJm\x07b\n", b"ab\n"),
        (b"a\x1b]9;note\x07\x1b]777;notify;x;y\x07b\n", b"ab\n"),
        (b"a\x1b]0;never ended\nnext\n", b"a\nnext\n"),
        (b"a\x1bP1$r0m\x1b\\b\x1b_apc\x1b\\c\x1b^pm\x1b\\d\x1bXsos\x1b\\e\n", b"abcde\n"),
        (b"a\x1bcb\x1b[2Jc\x1b[3;4Hd\x1b[?1049he\x1b(0f\x1b#8g\n", b"abcdefg\n"),
        (b"a\x1b[>4;2mb\x1b[?25lc\x1b[6nd\x1b[5ie\n", b"abcde\n"),
        (b"a\x9b2Jb\x9d0;title\x9cc\x90dcs\x9cd\x85e\n", b"abcde\n"),
        (b"a\xc2\x9b2Jb\xc2\x9d0;title\x07c\xc2\x85d\n", b"abcd\n"),
        (b"a\x07b\x00c\x7fd\x0ee\x0ff\rg\n", b"abcd e fg\n"),
        (b"\x1b\x1b[31m]0;x\n", b"\x1b[31m]0;x\n"),
        (b"a\x1b", b"a"),
    ],
)
def test_what_gets_through(written: bytes, shown: bytes) -> None:
    assert only_colors(written) == shown


pieces = st.sampled_from(
    [b"\x1b", b"[", b"]", b"8;", b"0;", b";", b"m", b"J", b"1", b"?", b"P", b"\\", b"\x07", b"\x9b", b"\xc2", b"\xe2",
     b"\x9d", b"\x9c", b"\xa9", b"\n", b"\r", b"\x08", b" ", b"text", b"\x1b[31m", LINK]
)  # fmt: skip


@given(st.lists(pieces | st.binary(max_size=3), max_size=30).map(b"".join))
def test_nothing_else_gets_through(written: bytes) -> None:
    shown = only_colors(written).decode("utf-8", "surrogateescape")
    assert "".join(ALLOWED.findall(shown)) == shown
    assert shown.count("\n") == written.count(b"\n"), "no line is hidden or forged"
    assert only_colors(shown.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape") == shown


@given(st.lists(pieces, max_size=20).map(b"".join), st.integers(1, 20))
def test_a_live_row_has_colours_only_and_fits(row: bytes, width: int) -> None:
    shown = clipped(row.replace(b"\n", b""), width)
    assert not re.sub(rb"\x1b\[[0-9;:]*m", b"", shown).count(b"\x1b")
    assert width_of(shown) <= width


@given(st.text(st.sampled_from("ab 漢é"), max_size=20), st.integers(0, 20))
def test_a_row_is_divided_at_a_column(text: str, width: int) -> None:
    left, right = divided(text.encode(), width)
    assert (left + right).decode() == text
    assert width_of(left) <= width
    assert not right or width_of(left) >= width - 1


@pytest.mark.parametrize(
    ("text", "place"),
    [("", (0, 0)), ("abc", (0, 3)), ("a" * 10, (1, 0)), ("a" * 11, (1, 1)), ("a" * 9 + "漢", (1, 2)),
     ("漢" * 5, (1, 0)), ("\x1b[31mab\x1b[0m", (0, 2)), ("e\u0301", (0, 1))],
)  # fmt: skip
def test_the_cursors_place_after_text(text: str, place: tuple[int, int]) -> None:
    assert place_after(text.encode(), 10) == place
