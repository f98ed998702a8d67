"""Frames, on a socket that keeps each write apart from the next."""

import os
import pty
import re
import socket
from collections.abc import Iterator
from typing import Any

import pyte
import pytest

from accelerate_sim.display.screen import FRAME_S, PIPE_BUFFER_BYTES, OutputClosed, Screen
from fake_torch_dist.terminal.keyboard import Keyboard


class Output:
    """The reader's side: what each write brought, and a pyte terminal that shows it all."""

    def __init__(self, columns: int, lines: int) -> None:
        self.reader, self.writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.reader.setblocking(False)
        self.writer.setblocking(False)
        self.now_s = 50.0
        self.terminal = pyte.HistoryScreen(columns, lines)
        self._stream = pyte.ByteStream(self.terminal)

    def screen(self, **options: Any) -> Screen:
        return Screen(self.writer.fileno(), monotonic=lambda: self.now_s, **({"live": True} | options))

    def take(self) -> list[bytes]:
        """The writes since the last call."""
        result = []
        while True:
            try:
                result.append(self.reader.recv(1 << 17))
            except BlockingIOError:
                return result

    def frames(self) -> list[str]:
        """The writes since the last call, which the terminal then shows."""
        taken = self.take()
        self._stream.feed(b"".join(taken))
        return [data.decode() for data in taken]

    @property
    def shown(self) -> list[str]:
        self.frames()
        return [line.rstrip() for line in self.terminal.display if line.strip()]


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch) -> Iterator[Output]:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("LINES", "8")
    result = Output(40, 8)
    yield result
    result.reader.close()
    result.writer.close()


def test_a_frame_is_one_write_with_the_bars_below_the_lines(output: Output):
    screen = output.screen()
    screen.pin(lambda width: "first bar")
    screen.pin(lambda width: "second bar")
    screen.write(["a line"])
    assert output.frames() == []
    screen.rest(0.0)
    assert len(output.frames()) == 1
    assert output.shown == ["a line", "first bar", "second bar"]
    output.now_s += 1.0
    screen.write([f"line {n}" for n in range(3)])
    screen.rest(0.0)
    assert len(output.frames()) == 1
    assert output.shown == ["a line", "line 0", "line 1", "line 2", "first bar", "second bar"]


def test_the_cursor_rests_at_the_beginning_of_the_first_bar(output: Output):
    screen = output.screen()
    for text in ("first bar", "second bar", "third bar"):
        screen.pin(lambda width, text=text: text)
    screen.write([f"line {n}" for n in range(20)])
    screen.flush()
    assert output.shown[-3:] == ["first bar", "second bar", "third bar"]
    assert (output.terminal.cursor.x, output.terminal.cursor.y) == (0, 8 - 3)


def test_no_bar_is_ever_in_the_scrollback(output: Output):
    screen = output.screen()
    screen.pin(lambda width: f"BAR at {output.now_s}")
    for n in range(100):
        output.now_s += 1.0
        screen.write([f"line {n}"])
        screen.rest(0.0)
        output.frames()
    above = ["".join(line[x].data for x in range(40)).rstrip() for line in output.terminal.history.top]
    assert above == [f"line {n}" for n in range(len(above))]
    assert output.shown == [*(f"line {n}" for n in range(93, 100)), f"BAR at {output.now_s}"]


def test_a_shorter_line_leaves_nothing_of_a_longer_one(output: Output):
    screen, text = output.screen(), "a bar with much to say"
    screen.pin(lambda width: text)
    screen.flush()
    text = "a bar"
    screen.refresh()
    screen.flush()
    assert output.shown == ["a bar"]


def test_nothing_is_blank_between_two_states_of_a_line(output: Output):
    """No flicker: a line is overwritten, and what was beyond its end is erased after it."""
    screen = output.screen()
    screen.pin(lambda width: "bar")
    screen.flush()
    output.frames()
    screen.write(["line"])
    screen.flush()
    (frame,) = output.frames()
    assert re.sub(r"\x1b\[\?2026[hl]", "", frame) == "\rline\x1b[K\r\nbar\x1b[J\r"


def test_a_bar_that_goes_leaves_no_trace(output: Output):
    screen = output.screen()
    first, second = (lambda width: "first bar"), (lambda width: "second bar")
    screen.pin(first)
    screen.pin(second)
    screen.flush()
    screen.unpin(first)
    screen.flush()
    assert output.shown == ["second bar"]
    screen.unpin(second)
    screen.write(["the end"])
    screen.flush()
    assert output.shown == ["the end"]
    assert (output.terminal.cursor.x, output.terminal.cursor.y) == (0, 1)


def test_a_bar_that_goes_at_the_bottom_does_not_scroll(output: Output):
    screen = output.screen()
    first, second = (lambda width: "first bar"), (lambda width: "second bar")
    screen.pin(first)
    screen.pin(second)
    screen.write([f"line {n}" for n in range(30)])
    screen.flush()
    screen.unpin(second)
    screen.write(["one more"])
    screen.flush()
    assert output.shown == [*(f"line {n}" for n in range(24, 30)), "one more", "first bar"]


def test_frames_are_no_closer_than_the_eye_can_follow(output: Output):
    screen = output.screen()
    screen.pin(lambda width: f"{output.now_s:.3f}")
    for _ in range(100):
        output.now_s += FRAME_S / 10
        screen.refresh()
        screen.rest(0.0)
    assert 9 <= len(output.frames()) <= 11


def test_before_a_short_rest_nothing_is_drawn_that_can_wait(output: Output):
    screen = output.screen()
    screen.pin(lambda width: "bar")
    screen.flush()
    output.frames()
    screen.write(["line"])
    screen.rest(FRAME_S / 10)
    assert output.frames() == []
    screen.rest(FRAME_S * 2)
    assert len(output.frames()) == 1
    screen.rest(FRAME_S * 2)
    assert output.frames() == [], "nothing has changed"


def test_a_bar_never_fills_the_last_column(output: Output):
    screen = output.screen()
    screen.pin(lambda width: "x" * 100)
    screen.flush()
    assert output.shown == ["x" * 39]


def test_after_a_resize_everything_below_the_cursor_is_drawn_anew(output: Output, monkeypatch: pytest.MonkeyPatch):
    screen = output.screen()
    screen.pin(lambda width: "x" * (width - 1))
    screen.pin(lambda width: "y" * (width - 1))
    screen.flush()
    output.frames()
    monkeypatch.setenv("COLUMNS", "20")
    screen.redraw()
    (frame,) = output.frames()
    assert frame == "\r\x1b[J" + "x" * 19 + "\x1b[K\r\n" + "y" * 19 + "\x1b[J\r\x1b[1A"


def test_more_bars_than_lines_show_the_last(output: Output, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LINES", "2")
    screen = output.screen()
    for n in range(4):
        screen.pin(lambda width, n=n: f"bar {n}")
    screen.flush()
    assert output.frames()[-1].count("bar") == 1
    assert output.shown[-1] == "bar 3"


def test_clear_takes_the_bars_away_and_redraw_brings_them_back(output: Output):
    screen = output.screen()
    screen.pin(lambda width: "first bar")
    screen.pin(lambda width: "second bar")
    screen.write(["a line"])
    screen.clear()
    assert output.shown == ["a line"]
    assert (output.terminal.cursor.x, output.terminal.cursor.y) == (0, 1)
    os.write(output.writer.fileno(), b"the shell was here\r\n")
    screen.redraw()
    assert output.shown == ["a line", "the shell was here", "first bar", "second bar"]


def test_close_writes_what_is_left_and_leaves_a_fresh_line(output: Output):
    screen = output.screen()
    screen.pin(lambda width: "bar")
    screen.write(["the last line"])
    screen.close()
    assert output.shown == ["the last line"]
    assert (output.terminal.cursor.x, output.terminal.cursor.y) == (0, 1)


def test_without_a_terminal_there_are_lines_and_nothing_else(output: Output):
    screen = output.screen(live=False)
    screen.write(["a", "b"])
    screen.refresh()
    screen.write(["c"])
    screen.clear()
    screen.redraw()
    screen.flush()
    screen.close()
    assert "".join(output.frames()) == "a\nb\nc\n"


def test_a_pipe_is_written_in_large_pieces(output: Output):
    screen, pieces = output.screen(live=False), []
    for _ in range(1000):
        screen.write(["x" * 99])
        pieces += output.take()
    screen.flush()
    pieces += output.take()
    assert b"".join(pieces) == (b"x" * 99 + b"\n") * 1000
    assert all(piece.endswith(b"\n") for piece in pieces)
    assert len(pieces) <= 1 + 1000 * 99 // PIPE_BUFFER_BYTES


def test_characters_that_the_output_does_not_have_are_replaced(output: Output):
    screen = output.screen(live=False, encoding="ascii")
    screen.write(["°C"])
    screen.flush()
    assert output.frames() == ["?C\n"]


@pytest.mark.parametrize("nonsense", ["abc", "", "-5", "0"])
def test_a_size_that_makes_no_sense_is_80_columns(output: Output, monkeypatch: pytest.MonkeyPatch, nonsense: str):
    monkeypatch.setenv("COLUMNS", nonsense)
    assert output.screen().width == 80


def test_a_reader_that_has_gone_is_no_oserror(output: Output):
    screen = output.screen(live=False)
    output.reader.close()
    screen.write(["a"])
    with pytest.raises(OutputClosed):
        screen.flush()


def test_a_reader_that_takes_nothing_can_be_given_up(output: Output):
    asked = 0

    def give_up_the_second_time() -> None:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise KeyboardInterrupt

    screen = output.screen(live=False, on_blocked=give_up_the_second_time)
    with pytest.raises(KeyboardInterrupt):
        for _ in range(10_000):
            screen.write(["x" * 1000])
    assert asked == 2


def test_a_reader_may_take_its_time_but_not_for_ever(output: Output):
    """Here the reader takes something now and then, until it takes nothing any more."""
    asked = 0

    def now_and_then() -> None:
        nonlocal asked
        asked += 1
        output.now_s += 0.9
        if asked < 5:
            output.take()

    screen = output.screen(live=False, patience_s=1.0, on_blocked=now_and_then)
    with pytest.raises(OutputClosed):
        for _ in range(10_000):
            screen.write(["x" * 1000])
    assert asked == 4 + 2


def test_output_that_does_not_block_loses_nothing(output: Output):
    """A launcher may have made the descriptor non-blocking."""
    read_end, write_end = os.pipe()
    for end in (read_end, write_end):
        os.set_blocking(end, False)
    got = b""

    def read() -> None:
        nonlocal got
        got += os.read(read_end, 4096)

    screen = Screen(write_end, live=False, on_blocked=read)
    screen.write([f"{n:0999}" for n in range(100)])  # more than a pipe holds
    screen.flush()
    os.close(write_end)
    while piece := os.read(read_end, 65536):
        got += piece
    os.close(read_end)
    assert got.decode().split("\n") == [*(f"{n:0999}" for n in range(100)), ""]


def test_keys_are_left_alone_by_those_who_do_not_own_the_terminal():
    master, slave = pty.openpty()  # nobody's controlling terminal
    keyboard = Keyboard(slave)
    keyboard.hush()
    os.write(master, b"hello\n")
    assert os.read(master, 100) == b"hello\r\n"
    keyboard.restore()
    os.close(master)
    os.close(slave)


def test_a_launcher_is_told_lines_and_a_block_of_live_rows(output: Output):
    """Lines as they are, the rows as one line of the launcher's own; only what has changed."""
    terminal, theirs = pty.openpty()
    try:
        os.set_inheritable(theirs, False)
        screen, text = output.screen(terminal=os.ttyname(theirs)), "first bar"
        screen.pin(lambda width: text)
        screen.pin(lambda width: "second bar")
        screen.write(["a line"])
        screen.flush()
        assert output.take() == [b"a line\n\x1b]fake-torchrun;live;first bar\x1fsecond bar\x07\n"]
        screen.write(["another"])
        screen.flush()
        assert output.take() == [b"another\n"]
        text = "later"
        screen.refresh()
        screen.flush()
        assert output.take() == [b"\x1b]fake-torchrun;live;later\x1fsecond bar\x07\n"]
        screen.close()
        assert output.take() == [b"\x1b]fake-torchrun;live;\x07\n"]
    finally:
        os.close(terminal)
        os.close(theirs)
