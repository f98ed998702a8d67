"""Identical lines of many ranks become one, nothing is lost, and each rank's lines keep their order."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_torch_dist.launcher.output.dedupe import MAX_WAITING_LINES, Deduper, ranges


class Clock:
    """Stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def deduper(size: int, clock: Clock) -> Deduper:
    return Deduper({rank: b"[default%d]:" % rank for rank in range(size)}, monotonic=clock)


def test_a_line_of_all_ranks_needs_no_waiting(clock: Clock):
    lines = deduper(3, clock)
    assert lines.add(0, b"hello\n") == lines.add(1, b"hello\n") == b""
    assert lines.add(2, b"hello\n") == b"[ranks 0-2]:hello\n"
    assert lines.deadline_s is None


def test_a_line_of_one_rank_waits_for_the_others_and_keeps_its_prefix(clock: Clock):
    lines = deduper(3, clock)
    assert lines.add(1, b"alone\n") == b""
    clock.now_s = 0.05
    assert lines.add(2, b"two\n") + lines.add(0, b"two\n") + lines.release() == b""
    assert lines.deadline_s == 0.1
    clock.now_s = 0.1
    assert lines.release() == b"[default1]:alone\n"
    clock.now_s = lines.deadline_s
    assert lines.release() == b"[ranks 0,2]:two\n"


def test_a_rank_that_has_ended_is_waited_for_no_more(clock: Clock):
    lines = deduper(3, clock)
    lines.add(0, b"bye\n")
    lines.add(2, b"bye\n")
    assert lines.leave(1) == b"[ranks 0,2]:bye\n"


def test_repeated_lines_are_counted(clock: Clock):
    lines = deduper(2, clock)
    assert lines.add(0, b"x\nx\n") == b""
    assert lines.add(1, b"x\nx\n") == b"[ranks 0-1]:x\n[ranks 0-1]:x\n"


def test_what_would_break_a_ranks_order_stays_apart(clock: Clock):
    lines = deduper(2, clock)
    lines.add(0, b"a\nb\n")
    lines.add(1, b"b\na\n")
    assert lines.close() == b"[default0]:a\n[ranks 0-1]:b\n[default1]:a\n"


@pytest.mark.parametrize(
    ("first", "second", "want"),
    [
        (b"[Rank 0/2] ready", b"[Rank 1/2] ready", b"[ranks 0-1]:ready\n"),
        (b"[rank0]: boom", b"[rank1]: boom", b"[ranks 0-1]:boom\n"),
        (b"using rank=0", b"using rank=1", b"[ranks 0-1]:using rank=*\n"),
        (
            b"[12:00:00,123] up",
            b"[12:00:00,987] up",
            b"[ranks 0-1]:[12:00:00,123] up\n",
        ),
        (b"2026-01-01T12:00:00Z up", b"2026-01-01T12:00:01Z up", b"[ranks 0-1]:2026-01-01T12:00:00Z up\n"),
        (b"[Rank 1/2] of 0", b"[Rank 0/2] of 1", b"[default0]:[Rank 1/2] of 0\n[default1]:[Rank 0/2] of 1\n"),
        (b"rank 01", b"rank 11", b"[default0]:rank 01\n[default1]:rank 11\n"),
        (b"loss 0.1", b"loss 1.1", b"[default0]:loss 0.1\n[default1]:loss 1.1\n"),
        (b"x" * 100 + b"rank 0", b"x" * 100 + b"rank 1", None),
    ],
)
def test_what_counts_as_identical(clock: Clock, first: bytes, second: bytes, want: bytes | None):
    lines = deduper(2, clock)
    found = lines.add(0, first + b"\n") + lines.add(1, second + b"\n") + lines.close()
    assert found == (want or b"[default0]:%b\n[default1]:%b\n" % (first, second))


def test_ranks_far_apart_do_not_fill_the_memory(clock: Clock):
    lines = deduper(2, clock)
    text = lines.add(0, b"".join(b"%d\n" % number for number in range(MAX_WAITING_LINES + 3)))
    assert text == b"[default0]:0\n[default0]:1\n[default0]:2\n"


def test_ranges():
    assert ranges([5, 0, 1, 2, 9, 8]) == "0-2,5,8-9"
    assert ranges([7]) == "7"


said = st.lists(st.tuples(st.integers(0, 2), st.lists(st.sampled_from([b"a", b"b", b"c", b""]), min_size=1)))


@given(said, st.lists(st.booleans()))
def test_each_rank_can_be_read_out_again(writes: list[tuple[int, list[bytes]]], pauses: list[bool]):
    clock = Clock()
    lines = deduper(3, clock)
    output = b""
    for (rank, texts), pause in zip(writes, [*pauses, *[False] * len(writes)], strict=False):
        output += lines.add(rank, b"".join(text + b"\n" for text in texts))
        if pause:
            clock.now_s += 0.06
            output += lines.release()
    output += b"".join(lines.leave(rank) for rank in range(3))
    assert lines.deadline_s is None and lines.close() == b""
    for rank in range(3):
        wrote = [text for writer, texts in writes if writer == rank for text in texts]
        assert _of_rank(output, rank) == wrote


def _of_rank(output: bytes, rank: int) -> list[bytes]:
    found = []
    for line in output.split(b"\n")[:-1]:
        match = re.fullmatch(rb"\[(?:default(\d)|ranks ([\d,-]+))\]:(.*)", line)
        assert match
        spans = [span.split("-") for span in (match[1] or match[2]).decode().split(",")]
        if any(int(span[0]) <= rank <= int(span[-1]) for span in spans):
            found.append(match[3])
    return found
