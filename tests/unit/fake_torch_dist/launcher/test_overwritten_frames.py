r"""Frames that others overwrite at once: read together they leave what they leave when they come one by one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fake_torch_dist.launcher.output.bars import BarRows

PIECES = st.sampled_from([b"\r", b"\r", b"\n", b"10%", b" ", b"   20%", b"\x0c", b"loss", b"\x1b[A", b"\x1b[K"])


def rows(*, live: bool = False, shared: bool = False) -> BarRows:
    return BarRows(bytearray(b"begun"), live=live, shared=shared, max_line_bytes=1 << 20)


def state(bars: BarRows, lines: list[bytes]) -> tuple[object, ...]:
    return lines, bars.newest, bars.rows, bars.begun, bars.unfinished, bars.close()


@given(pieces=st.lists(PIECES, max_size=40), live=st.booleans(), shared=st.booleans())
def test_frames_that_come_together_leave_what_frames_one_by_one_leave(
    pieces: list[bytes], live: bool, shared: bool
) -> None:
    together, singly = rows(live=live, shared=shared), rows(live=live, shared=shared)
    lines = [line for piece in pieces for line in singly.feed(piece)]
    assert state(together, together.feed(b"".join(pieces))) == state(singly, lines)


def test_the_last_frame_and_the_newest_complete_one_remain_of_many() -> None:
    bars = rows()
    assert bars.feed(b"".join(b"\r%d%%" % k for k in range(100)) + b"\n\r7%\r8%\r9%") == [b"99%"]
    assert bars.newest == b"8%"
    assert bars.close() == [b"9%"]


def test_a_frame_too_long_for_a_line_is_broken_though_it_is_overwritten() -> None:
    bars = BarRows(bytearray(), live=False, max_line_bytes=10)
    assert bars.feed(b"\r" + b"x" * 25 + b"\rone\rtwo\n") == [b"x" * 10, b"x" * 10, b"two"]
