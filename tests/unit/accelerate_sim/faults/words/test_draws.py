"""Draws are reproducible, independent of order, and evenly spread."""

from __future__ import annotations

from accelerate_sim.faults.words.draw import Draw
from accelerate_sim.faults.words.line import STDERR, TimedLine, block, later, prefixed


def test_the_same_names_give_the_same_value_in_any_order() -> None:
    one, other = Draw(7, "xid"), Draw(7, "xid")
    first = [one.hex("address", 8), one.below("link", 18)]
    assert [other.below("link", 18), other.hex("address", 8)] == first[::-1]
    assert Draw(8, "xid").hex("address", 8) != first[0]
    assert one.within(1).hex("address", 8) != one.within(2).hex("address", 8)


def test_values_stay_in_range_and_reach_its_ends() -> None:
    draw = Draw(1)
    assert {draw.below(k, 6) for k in range(200)} == set(range(6))
    assert all(2.0 <= draw.between(k, 2.0, 3.0) < 3.0 for k in range(200))
    assert {draw.one_of(k, "abc") for k in range(50)} == set("abc")


def test_hexadecimal_digits_are_as_many_as_asked() -> None:
    assert {len(Draw(k).hex("name", 32)) for k in range(40)} == {32}
    assert len({Draw(k).bits("name", 100) >> 99 for k in range(40)}) == 2


def test_a_block_has_one_time_and_can_be_moved_and_marked() -> None:
    lines = block(1.5, STDERR, "a\n\nb")
    assert lines == [TimedLine(1.5, STDERR, text) for text in ("a", "", "b")]
    assert [line.after_s for line in later(lines, 2.0)] == [3.5] * 3
    assert [line.text for line in prefixed(lines, "[rank3]: ")] == ["[rank3]: a", "[rank3]: ", "[rank3]: b"]
