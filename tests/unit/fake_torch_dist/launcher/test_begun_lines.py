"""Unfinished lines on an output that takes nothing back: written once, continued where they stand, never glued."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from fake_torch_dist.launcher.output.begun_lines import BegunLines
from fake_torch_dist.launcher.output.merge import LineMerger


def test_a_line_goes_on_where_it_stands() -> None:
    lines = BegunLines()
    assert lines.begin("a", b"[a]:..", b"[a]:") == b"[a]:.."
    assert lines.begin("a", b"[a]:...", b"[a]:") == b"."
    assert lines.complete("a", b"[a]:... done\nnext\n") == b" done\nnext\n"
    assert lines.complete("b", b"b\n") == b"b\n"


def test_who_writes_in_between_ends_it_and_the_rest_says_so() -> None:
    lines = BegunLines()
    written = lines.begin("a", b"[a]:half", b"[a]:") + lines.complete("b", b"[b]:whole\n")
    written += lines.begin("a", b"[a]:half of", b"[a]:") + lines.complete(None, b"launcher\n")
    written += lines.complete("a", b"[a]:half of it\n")
    assert written == b"[a]:half\n[b]:whole\n[a]:...  of\nlauncher\n[a]:...  it\n"


def test_an_interrupted_line_that_is_complete_needs_no_more() -> None:
    lines = BegunLines()
    assert lines.begin("a", b"all", b"") + lines.complete("b", b"b\n") + lines.complete("a", b"all\n") == b"all\nb\n"


def test_a_line_that_becomes_another_is_written_anew() -> None:
    lines = BegunLines()
    assert lines.begin("a", b"Loading", b"") + lines.complete("a", b"Done\n") == b"Loading\nDone\n"


def test_colours_end_with_the_interruption_and_go_on_after_it() -> None:
    lines = BegunLines()
    written = lines.begin("a", b"\x1b[31mred", b"") + lines.complete("b", b"b\n")
    written += lines.complete("a", b"\x1b[31mred still\x1b[0m\n")
    assert written == b"\x1b[31mred\x1b[0m\nb\n... \x1b[31m still\x1b[0m\n"


steps = st.lists(st.tuples(st.integers(0, 2), st.sampled_from([b"x", b"yz", b"\n", b"a\nb", b" "]), st.booleans()))


@given(steps)
def test_every_byte_is_there_once_and_in_order(steps: list[tuple[int, bytes, bool]]) -> None:
    lines, mergers = BegunLines(), [LineMerger(b"%d:" % number) for number in range(3)]
    written = b""
    for number, data, shown in steps:
        written += lines.complete(number, mergers[number].feed(data))
        unfinished = mergers[number].unfinished()
        if shown and unfinished:
            written += lines.begin(number, unfinished, b"%d:" % number)
    for number, merger in enumerate(mergers):
        written += lines.complete(number, merger.close())
    for number in range(3):
        own = [line[2:] for line in written.split(b"\n") if line.startswith(b"%d:" % number)]
        said = b"".join(data for who, data, _ in steps if who == number)
        assert re.sub(rb"\s", b"", b"".join(own).replace(b"... ", b"")) == re.sub(rb"\s", b"", said)
    assert all(line[1:2] == b":" for line in written.split(b"\n")[:-1]), "no line is glued to another"
