r"""Whatever the pieces, whole lines come out: half lines, huge ones, ``\r`` frames, colours, bytes that are no text."""

from __future__ import annotations

import io
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tqdm import tqdm

from fake_torch_dist.launcher.output.merge import LineMerger

P = b"[default3]:"


def merged(data: bytes, size: int | None = None, **options: object) -> bytes:
    """All of ``data`` through a merger, in chunks of ``size``."""
    merger = LineMerger(P, **options)
    size = size or max(len(data), 1)
    text = b"".join([merger.feed(data[at : at + size]) for at in range(0, len(data), size)])
    return text + merger.close()


def lines(data: bytes, **options: object) -> list[bytes]:
    """The lines without their prefix, the same for chunks of 1, 3 and all bytes."""
    whole = merged(data, **options)
    assert merged(data, 1, **options) == whole
    assert merged(data, 3, **options) == whole
    *found, rest = whole.split(b"\n")
    assert rest == b"" and all(line.startswith(P) for line in found)
    return [line.removeprefix(P) for line in found]


# --- Hard cases -----------------------------------------------------------------------------------


def test_a_line_split_over_reads_comes_out_whole():
    merger = LineMerger(b"[node0]: ")
    assert merger.feed(b"he") == b""
    assert merger.feed(b"llo\nwor") == b"[node0]: hello\n"
    assert merger.close() == b"[node0]: wor\n"
    assert merger.close() == b""


@pytest.mark.parametrize(
    ("data", "want"),
    [
        (b"", []),
        (b"\n", [b""]),
        (b"a\n\nb\n", [b"a", b"", b"b"]),
        (b"no newline at the end", [b"no newline at the end"]),
        (b"windows\r\n\r\nlines\r\n", [b"windows", b"", b"lines"]),
        (b"1%\r2%\r3%\n", [b"3%"]),
        (b"\r1%\r2%\r3%\nnext\n", [b"3%", b"next"]),
        (b"1%\r2%\r\r\nnext\n", [b"2%", b"next"]),
        (b"\r1%\r2%", [b"2%"]),
        (b"\r1%\r  \r", []),
        (b"\r1%\r  \rdone\n", [b"done"]),
        (b"\xff\xfe\x00\n\xc3", [b"\xff\xfe\x00", b"\xc3"]),
        (b"\x1b[31mred\x1b[0m\n", [b"\x1b[31mred\x1b[0m"]),
        (b"\x1b[31mred\nstill\x1b[m\nplain\n", [b"\x1b[31mred\x1b[0m", b"\x1b[31mstill\x1b[m", b"plain"]),
        (b"\x1b[31mred\x1b[39m\nplain\n", [b"\x1b[31mred\x1b[39m", b"plain"]),
        (b"\x1b[1;38;5;9mx\n\ny", [b"\x1b[1;38;5;9mx\x1b[0m", b"", b"\x1b[1m\x1b[38;5;9my\x1b[0m"]),
        (b"cut escape \x1b[3", [b"cut escape \x1b[3"]),
    ],
)
def test_hard_cases(data: bytes, want: list[bytes]):
    assert lines(data) == want


def test_no_prefix_leaves_lines_as_they_are():
    merger = LineMerger()
    assert merger.feed(b"a\nb\nc") == b"a\nb\n"
    assert merger.feed(b"d\n") == b"cd\n"


def test_a_line_of_a_megabyte_in_small_pieces_is_whole_and_quick():
    data = b"x" * 2_000_000 + b"\n"
    begin_s = time.perf_counter()
    assert merged(data, 100) == P + data
    assert time.perf_counter() - begin_s < 5, "each piece costs what it is long, not what is held"


def test_a_line_beyond_the_limit_is_broken_and_nothing_is_lost():
    data = b"a" * 25 + b"\n" + b"b" * 20 + b"\nc\n" + b"\rd" * 2 + b"d" * 10
    assert lines(data, max_line_bytes=10) == [
        b"a" * 10, b"a" * 10, b"a" * 5, b"b" * 10, b"b" * 10, b"c", b"d" * 10, b"d",
    ]  # fmt: skip


# --- Bars -----------------------------------------------------------------------------------------


class Recorder(io.StringIO):
    """Each write for itself."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []

    def write(self, text: str) -> int:
        self.writes.append(text.encode())
        return len(text)


def two_bars(*, leave: bool) -> list[bytes]:
    """Bytes that tqdm writes for a bar of 3 with a bar of 4 below, and a line in each."""
    file = Recorder()
    common = {"file": file, "mininterval": 0, "ncols": 50, "miniters": 1}
    with tqdm(total=3, desc="outer", **common) as outer:
        for number in range(3):
            for _ in tqdm(range(4), desc="inner", leave=leave, **common):
                pass
            tqdm.write(f"line {number}", file=file)
            outer.update()
    file.write("after\n")
    return file.writes


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("leave", [False, True])
def test_of_several_bars_only_the_last_frames_become_lines(leave: bool, live: bool):
    found = [re.sub(rb"\|.*", b"", line).rstrip() for line in lines(b"".join(two_bars(leave=leave)), live=live)]
    first = [] if live else [b"outer:   0%"]  # before a second bar is known of
    inner = [b"inner: 100%"] if leave else []
    want = [line for number in range(3) for line in (*inner, b"line %d" % number)]
    assert found == [*first, *want, b"outer: 100%", b"after"]


def test_live_rows_are_the_bars_that_tqdm_shows():
    merger = LineMerger(P, live=True)
    seen = set()
    for piece in two_bars(leave=False):
        merger.feed(piece)
        if piece == b"\x1b[A":
            seen.add(tuple(row.split(b"|")[0] for row in merger.rows))
    assert (b"outer:   0%", b"inner:  50%") in seen
    assert (b"outer:  67%", b"inner: 100%") in seen
    assert all(rows[0].startswith(b"outer") for rows in seen)
    merger.close()
    assert merger.rows == ()


def test_four_bars_side_by_side():
    file = Recorder()
    bars = [
        tqdm(total=5, desc=f"bar {number}", position=number, file=file, mininterval=0, ncols=40) for number in range(4)
    ]
    for _ in range(5):
        for bar in bars:
            bar.update()
    stream = b"".join(file.writes)
    for bar in bars:
        bar.close()
    live = LineMerger(live=True)
    live.feed(stream)
    assert [row.split(b"|")[0] for row in live.rows] == [b"bar %d: 100%%" % number for number in range(4)]
    found = [line.split(b"|")[0] for line in lines(b"".join(file.writes))]
    assert found == [b"bar 0:   0%", *(b"bar %d: 100%%" % number for number in range(4))]


def test_a_bar_is_live_until_a_line_follows():
    merger = LineMerger(P, live=True)
    assert merger.feed(b"\r10%\r20%") == b""
    assert merger.rows == (b"20%",)
    assert merger.feed(b"\r100%\n") == b""
    assert merger.rows == (b"100%",)
    assert merger.feed(b"done\n") == P + b"100%\n" + P + b"done\n"
    assert merger.rows == ()


def test_a_bar_after_a_bar_does_not_hold_the_first_one_back():
    merger = LineMerger(P, live=True)
    assert merger.feed(b"\ra 100%\n\rb 1%") == b""
    assert merger.feed(b"\rb 2%") == P + b"a 100%\n"
    assert merger.rows == (b"b 2%",)


def test_a_frame_that_is_not_shown_is_no_row():
    merger = LineMerger(P)
    assert merger.feed(b"plain\n\r10%\r20%") == P + b"plain\n"
    assert merger.feed(b"\r30%\nx") == P + b"30%\n"


def test_on_a_pipe_a_bar_is_a_line_now_and_then():
    now_s = 0.0
    merger = LineMerger(P, bar_every_s=10, monotonic=lambda: now_s)
    said = b""
    for second in range(36):
        now_s = float(second)
        said += merger.feed(b"\r%d%%" % second)
    said += merger.feed(b"\r100%\n")
    # The newest complete frame: one that the next has begun to replace.
    assert said == b"".join(P + frame + b"\n" for frame in (b"10%", b"20%", b"30%", b"100%"))


def test_frames_without_end_do_not_pile_up():
    merger = LineMerger(P)
    for number in range(100_000):
        merger.feed(b"\r%060d" % number)
    held = merger.close()
    assert held == P + b"%060d\n" % 99_999


# --- The live block -------------------------------------------------------------------------------


def test_live_block_is_taken_out_and_shown():
    merger = LineMerger(P, live=True)
    text = merger.feed(b"one\n\x1b]fake-torchrun;live;Training \xe2\x96\x88\x1fStep 2\x07\ntwo\n")
    assert text == P + b"one\n" + P + b"two\n"
    assert merger.rows == ("Training █".encode(), b"Step 2")
    assert merger.feed(b"\x1b]fake-torchrun;live;") == merger.feed(b"Step 3") == b""
    assert merger.rows == ("Training █".encode(), b"Step 2")
    merger.feed(b"\x07\n")
    assert merger.rows == (b"Step 3",)
    assert merger.feed(b"\x1b]fake-torchrun;live;\x07\n") == b""
    assert merger.rows == ()


def test_live_block_may_have_colours():
    merger = LineMerger(P, live=True)
    assert merger.feed(b"\x1b]fake-torchrun;live;\x1b[31mred\x1b[0m\x07\nx\n") == P + b"x\n"
    assert merger.rows == (b"\x1b[31mred\x1b[0m",)


def test_live_block_inside_a_line_leaves_the_line_as_it_is():
    merger = LineMerger(P, live=True)
    assert merger.feed(b"half \x1b]fake-torchrun;live;bar\x07\nline\n") == P + b"half line\n"
    assert merger.rows == (b"bar",)


def test_streams_that_are_not_live_pass_it_on():
    data = b"\x1b]fake-torchrun;live;bar\x07"
    assert lines(data + b"\n") == [data]


# --- Torture --------------------------------------------------------------------------------------

CODES = [
    b"\n", b"\r", b"\r\n", b"\x1b[A", b"\x1b[2A", b"\x1b[F", b"\x1b[B", b"\x1b[K", b"\x1b[2K", b"\x1b[J", b"\x1b[31m",
    b"\x1b[0m", b"\x1b", b"\x1b[", b" ", b"bar", b"\x1b]fake-torchrun;live;", b"\x07",
    b"\x1b]fake-torchrun;live;a\x1f\x1b[1mb\x1b[0m\x07\n",
]  # fmt: skip
pieces = st.one_of(st.binary(max_size=6), st.sampled_from(CODES))


@given(st.lists(pieces, max_size=40), st.data(), st.booleans(), st.sampled_from([8, 1 << 20]))
def test_any_chunks_give_the_same_bytes(data: list[bytes], draw: st.DataObject, live: bool, limit: int):
    """Also for bars on a pipe: the newest frame depends on when data arrives, so without ``bar_every_s``."""
    stream = b"".join(data)
    whole, cut = LineMerger(P, live=live, max_line_bytes=limit), LineMerger(P, live=live, max_line_bytes=limit)
    want = whole.feed(stream)
    found = b""
    while stream:
        size = draw.draw(st.integers(1, len(stream)))
        found += cut.feed(stream[:size])
        stream = stream[size:]
    assert cut.rows == whole.rows
    assert found + cut.close() == want + whole.close()


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3), st.binary(max_size=30).map(lambda b: b.replace(b"\r", b"\n").replace(b"\x1b", b""))
        ),
        max_size=60,
    )
)
def test_each_rank_gets_through_what_it_wrote(writes: list[tuple[int, bytes]]):
    mergers = [LineMerger(b"[%d]:" % rank) for rank in range(4)]
    output = b"".join(mergers[rank].feed(data) for rank, data in writes)
    output += b"".join(merger.close() for merger in mergers)
    for rank in range(4):
        wrote = b"".join(data for writer, data in writes if writer == rank)
        if wrote and not wrote.endswith(b"\n"):
            wrote += b"\n"
        start = b"[%d]:" % rank
        assert b"".join(line[4:] + b"\n" for line in output.split(b"\n")[:-1] if line.startswith(start)) == wrote


@given(st.lists(st.sampled_from([b"\x1b[31m", b"\x1b[1;4m", b"\x1b[0m", b"\x1b[39m", b"x", b"\n"]), max_size=40))
def test_every_character_keeps_its_colour_and_no_colour_leaves_its_line(data: list[bytes]):
    def painted(text: bytes) -> list[tuple[str, bool, bool]]:
        red = bold = False
        found = []
        for code, character in re.findall(rb"\x1b\[([0-9;]*)m|(.)", text, re.DOTALL):
            if character:
                found.append((character.decode(), red, bold))
            for number in code.split(b";"):
                red = {b"31": True, b"39": False, b"0": False}.get(number, red)
                bold = {b"1": True, b"0": False}.get(number, bold)
        return found

    stream = b"".join(data)
    merger = LineMerger(b"")
    output = merger.feed(stream) + merger.close()
    text, want = painted(output), painted(stream)
    assert [cell for cell in text if cell[0] != "\n"] == [cell for cell in want if cell[0] != "\n"]
    assert not [cell for cell in text if cell[0] == "\n" and any(cell[1:])]


# --- Lines that have begun ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "unfinished"),
    [
        (b"", b""),
        (b"whole\n", b""),
        (b"whole\nname: ", P + b"name: "),
        (b"\x1b[31mred\nred? ", P + b"\x1b[31mred? "),
        ("é".encode()[:1], P),
        ("漢字".encode()[:-1], P + "漢".encode()),
        (b"\r50%", b""),
        (b"\r100%\nname: ", P + b"name: "),
    ],
)
def test_what_has_begun_can_be_seen(data: bytes, unfinished: bytes):
    for merger in (LineMerger(P), LineMerger(P, live=True)):
        merger.feed(data)
        assert merger.unfinished() == unfinished
        assert bool(unfinished) <= merger.holds_text


@given(st.lists(st.sampled_from([b"a", b" b", b"\n", b"\x1b[31m", b"\x1b[0m", "é".encode()]), max_size=20))
def test_the_next_line_begins_as_it_was_seen_to_begin(pieces: list[bytes]):
    merger, seen = LineMerger(P), b""
    for piece in pieces:
        text = merger.feed(piece)
        assert not text or text.startswith(seen)
        seen = merger.unfinished()
    assert (merger.close() or seen).startswith(seen)


def test_carriage_returns_of_lines_stay_where_nothing_was_asked():
    for size in (1, 3, 100):
        data = b"windows\r\n\r\nlines\r\n" * 3 + b"half"
        merger = LineMerger(keep_returns=True)
        text = b"".join(merger.feed(data[at : at + size]) for at in range(0, len(data), size)) + merger.close()
        assert text == data + b"\n"
    merger = LineMerger(keep_returns=True)
    assert merger.feed(b"a\r\n1%\r2%\r\nb\r\n") + merger.close() == b"a\n2%\nb\n"


# --- Standard output and error in one -------------------------------------------------------------


def frame(step: int, *, columns: int | None) -> bytes:
    out = io.StringIO()
    tqdm.status_printer(out)(tqdm.format_meter(step, 100, step / 10, ncols=columns, prefix="bar"))
    return out.getvalue().encode()


@pytest.mark.parametrize("columns", [None, 39, 40])
def test_a_line_after_a_bar_is_a_line_of_its_own(columns: int | None):
    for size in (1, 7, 1000):
        merger = LineMerger(P, live=True, shared=True, columns=40)
        data = b"".join(frame(step, columns=columns) + b"line %d\nand more\n" % step for step in range(5))
        data += frame(5, columns=columns)
        text = b"".join(merger.feed(data[at : at + size]) for at in range(0, len(data), size))
        assert text == b"".join(P + b"line %d\n" % step + P + b"and more\n" for step in range(5))
        assert merger.rows == (frame(5, columns=columns)[1:],)
        assert merger.feed(b"\n") + merger.close() == P + frame(5, columns=columns)[1:] + b"\n"


def test_a_prompt_after_a_bar_has_begun():
    merger = LineMerger(P, live=True, shared=True, columns=70)
    merger.feed(frame(1, columns=70) + b"go on? ")
    assert merger.unfinished() == P + b"go on? "
    assert merger.rows == (frame(1, columns=70)[1:],)
    assert merger.feed(b"yes\n") == P + b"go on? yes\n"


def test_half_a_line_under_a_bar_is_not_lost():
    merger = LineMerger(P, live=True, shared=True, columns=70)
    merger.feed(frame(1, columns=70))
    text = merger.feed(b"half " + frame(2, columns=70)) + merger.feed(b"of it\n")
    assert text + merger.close() == P + b"half of it\n" + P + frame(2, columns=70)[1:] + b"\n"


def test_other_bars_are_as_on_a_terminal():
    merger = LineMerger(P, shared=True, columns=40)
    assert merger.feed(b"\r50%\r99%line\nnext\n") + merger.close() == P + b"99%line\n" + P + b"next\n"
