"""A line that is edited while it is written stands as a terminal would show it."""

from __future__ import annotations

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_torch_dist.launcher.output.merge import LineMerger
from fake_torch_dist.terminal.edited_line import edited, finished

PROMPT = b"(Pdb) "


@pytest.mark.parametrize(
    ("line", "left", "right"),
    [
        (b"plain", b"plain", b""),
        (b"ab\x08c", b"ac", b""),
        (b"abc\x08\x08", b"a", b"bc"),
        (b"abc\x08\x08\x1b[K", b"a", b""),
        (b"abc\x08\x08\x1b[P", b"a", b"c"),
        (b"abc\x08\x1b[2@xy", b"abxy", b"c"),
        (b"\x1b[31mred\x1b[0m\x08\x08X", b"\x1b[31mr\x1b[0mX", b"d"),
        (b"\x07bell\x08", b"\x07bel", b"l"),
        (b"a\x1b[99999999Cb", None, b""),
    ],
)
def test_edits(line: bytes, left: bytes | None, right: bytes) -> None:
    found = edited(line)
    assert found[1] == right and (left is None or found[0] == left)
    assert len(found[0]) < 5000


keys = st.sampled_from(
    [b"a", b"b c", "é".encode(), b"\x08", b"\x08\x08", b"\x1b[C", b"\x1b[K", b"\x1b[P", b"\x1b[2P", b"\x1b[@",
     b"\x1b[3@", b"\x07", b"\x1b[5G", b"\r\x1b[6C"]
)  # fmt: skip


@given(st.lists(keys, max_size=15))
def test_it_stands_as_on_a_terminal(typed: list[bytes]) -> None:
    screen = pyte.Screen(200, 3)
    pyte.ByteStream(screen).feed(PROMPT + b"".join(typed))
    merger = LineMerger(live=True, shared=True, columns=200)
    merger.feed(PROMPT)
    for piece in typed:
        assert merger.feed(piece) == b""
    left, right = edited(merger.unfinished())
    assert (left + right).replace(b"\x07", b"").decode().rstrip() == screen.display[0].rstrip()
    assert len(left.replace(b"\x07", b"").decode()) == screen.cursor.x
    done = finished(merger.feed(b"\n") + merger.close())
    assert done.replace(b"\x07", b"").decode().rstrip() == screen.display[0].rstrip()
