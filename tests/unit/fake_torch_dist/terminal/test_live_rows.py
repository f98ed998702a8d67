"""Live rows stay at the bottom of a (pyte) terminal while everybody's lines scroll above them."""

from __future__ import annotations

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_torch_dist.launcher.output.merge import LineMerger
from fake_torch_dist.terminal.live_rows import LiveTerminal


class Window:
    """A terminal with its scrollback, and the live terminal that draws on it."""

    def __init__(self, columns: int = 40, rows: int = 8) -> None:
        self.screen = pyte.HistoryScreen(columns, rows, history=10_000, ratio=0.5)
        self.screen.set_mode(pyte.modes.LNM)  # a tty makes \n of \r\n
        self.stream = pyte.ByteStream(self.screen)
        self.size = columns, rows
        self.terminal = LiveTerminal(lambda: self.size)
        self.last = b""

    def draw(self, lines: bytes = b"", **rows: tuple[bytes, ...]) -> None:
        for source, texts in rows.items():
            self.terminal.show(source, texts)
        self.put(self.terminal.frame(lines))

    def put(self, data: bytes) -> None:
        self.last = data
        self.stream.feed(data)

    def resize(self, columns: int, rows: int) -> None:
        self.screen.resize(rows, columns)
        self.size = columns, rows

    @property
    def lines(self) -> list[str]:
        """Scrollback and screen, down to the last line in use."""
        above = ["".join(line[x].data for x in range(self.screen.columns)) for line in self.screen.history.top]
        text = "\n".join(line.rstrip() for line in [*above, *self.screen.display])
        return text.rstrip("\n").split("\n")


def test_lines_scroll_above_two_bars():
    """Three ranks; rank 0 draws two tqdm bars on its stderr."""
    window = Window()
    ranks = [LineMerger(b"[%d]:" % rank) for rank in range(3)]
    bars = LineMerger(b"[0]:", live=True)
    window.draw(bars.feed(b"\router 0%\n\rinner 0%\x1b[A"), bars=bars.rows)
    for step in range(20):
        for merger in ranks:
            window.draw(merger.feed(b"step %d\nhalf" % step))
            assert window.lines[-2:] == [f"outer {max(step - 1, 0)}%", f"inner {max(step - 1, 0)}%"]
        window.draw(bars.feed(b"\router %d%%\n\rinner %d%%\x1b[A" % (step, step)), bars=bars.rows)
        assert window.lines[-2:] == [f"outer {step}%", f"inner {step}%"]
        used = [line for line in window.screen.display if line.strip()]
        assert (window.screen.cursor.x, window.screen.cursor.y) == (0, len(used) - 2)
    assert len(window.lines) == 62
    assert not [line for line in window.lines[:-2] if "er " in line], "no stale bars"
    window.draw(b"".join(merger.close() for merger in ranks) + bars.close(), bars=bars.rows)
    window.put(window.terminal.close())
    assert window.lines[-5:] == ["[0]:half", "[1]:half", "[2]:half", "[0]:outer 19%", "[0]:inner 19%"]
    assert window.screen.cursor.x == 0


def test_without_live_rows_the_bytes_are_the_lines():
    window = Window()
    window.draw(b"one\ntwo\n")
    assert window.last == b"one\ntwo\n"


def test_nothing_new_is_nothing_to_write():
    window = Window()
    window.draw(bars=(b"x",))
    assert window.last
    window.draw(bars=(b"x",))
    assert window.last == b""


@pytest.mark.parametrize("length", [39, 40, 41, 80, 81])
def test_lines_as_wide_as_the_terminal_or_wider_leave_no_bar_behind(length: int):
    window = Window()
    window.draw(bars=(b"#" * 39, b"#" * 39))
    window.draw(b"y" * length + b"\nshort\n\ta\n")
    text = "".join(window.lines)
    assert text.count("#") == 78 and text.count("y") == length
    assert window.lines[-4:] == ["short", " " * 8 + "a", "#" * 39, "#" * 39]


def test_rows_never_fill_the_last_column():
    window = Window(10)
    rows = (b"0123456789abc", "wide 漢字漢".encode(), b"\x1b[31mred and more text", b"a\tb\x07\x1b[Kc")
    window.draw(bars=rows)
    assert window.lines == ["012345678", "wide 漢字", "red and m", "a bc"]
    assert window.screen.buffer[3][0].fg == "default"


def test_more_rows_than_the_terminal_has_show_the_last():
    window = Window(40, 4)
    window.draw(b"line\n", bars=tuple(b"%d" % number for number in range(9)))
    assert window.lines == ["line", "6", "7", "8"]


def test_rows_that_go_leave_nothing():
    window = Window()
    window.draw(b"a\n", bars=(b"1", b"2", b"3"))
    window.draw(bars=(b"4",))
    assert window.lines == ["a", "4"]
    window.draw(b"b\n", bars=())
    assert window.lines == ["a", "b"]
    window.draw(b"c\n")
    assert window.last == b"c\n"


def test_sources_stand_in_the_order_of_their_first_row():
    window = Window()
    window.draw(late=())
    window.draw(first=(b"1",))
    window.draw(late=(b"2",))
    window.draw(first=(b"1b",))
    assert window.lines == ["1b", "2"]


def test_after_a_resize_the_rows_are_drawn_anew():
    window = Window(40, 8)
    window.draw(b"line\n", bars=(b"#" * 60,))
    window.resize(20, 8)
    window.put(window.terminal.redraw())
    assert window.lines == ["line", "#" * 19]
    window.resize(60, 8)
    window.draw(b"more\n")
    assert window.lines == ["line", "more", "#" * 59]


def test_what_a_rank_writes_cannot_move_the_cursor():
    window = Window()
    window.draw(bars=(b"bar",))
    window.draw(b"a\x1b[2J\x1b[Hb\x1b[5A\x0bc\x1bcd \x1b[31mred\x1b[0m\n")
    assert window.lines == ["ab cd red", "bar"]
    assert window.screen.buffer[0][6].fg == "red"


def test_a_frame_with_lines_is_shown_at_once():
    window = Window()
    window.draw(b"a\n", bars=(b"1",))
    assert window.last.startswith(b"\x1b[?2026h") and window.last.endswith(b"\x1b[?2026l")


texts = st.text(st.sampled_from("ab c漢é\t"), max_size=12)


@given(st.lists(st.tuples(st.lists(texts, max_size=3), st.lists(texts, max_size=3)), max_size=12))
def test_lines_and_rows_are_all_that_stands_there(frames: list[tuple[list[str], list[str]]]):
    window, plain = Window(12, 6), Window(12, 6)
    for lines, rows in frames:
        data = "".join(line + "\n" for line in lines).encode()
        window.draw(data, bars=tuple(row.encode() for row in rows))
        plain.draw(data)
    window.put(window.terminal.close())
    assert window.lines == plain.lines


# --- Lines that have begun -----------------------------------------------------------------------


def begin(window: Window, line: bytes, lines: bytes = b"", key: str = "a") -> None:
    window.terminal.begin(key, line)
    window.put(window.terminal.frame(lines))


def cursor(window: Window) -> tuple[int, int]:
    return window.screen.cursor.x, window.screen.cursor.y


def test_a_prompt_is_written_once_and_goes_on_after_what_is_typed():
    window = Window()
    window.draw(b"before\n")
    begin(window, b"overwrite? ")
    assert window.last == b"overwrite? "
    window.stream.feed(b"yes\r\n")  # the terminal shows what is typed
    begin(window, b"", b"overwrite? ok\n")
    assert window.lines == ["before", "overwrite? yes", "ok"]


def test_lines_of_others_come_above_it():
    window = Window()
    begin(window, b"(Pdb) ")
    for number in range(12):
        window.draw(b"line %d\n" % number)
        assert window.lines[-2:] == [f"line {number}", "(Pdb)"]
        assert cursor(window)[0] == 6
    begin(window, b"", b"(Pdb) done\n")
    assert window.lines[-2:] == ["line 11", "(Pdb) done"]


def test_bars_stay_below_it_and_what_is_typed_stays_while_they_are_drawn():
    window = Window()
    window.draw(b"line\n", bars=(b"outer 0%", b"inner 0%"))
    begin(window, b"name: ")
    assert window.lines == ["line", "name:", "outer 0%", "inner 0%"]
    assert cursor(window) == (6, 1)
    window.stream.feed(b"typ")
    window.draw(bars=(b"outer 1%", b"inner 7%"))
    assert window.lines == ["line", "name: typ", "outer 1%", "inner 7%"]
    assert cursor(window) == (9, 1)
    window.stream.feed(b"ed\r\n")
    begin(window, b"", b"name: hello\n")
    assert window.lines == ["line", "name: typed", "hello", "outer 1%", "inner 7%"]
    window.draw(b"next\n", bars=())
    assert window.lines == ["line", "name: typed", "hello", "next"]


def test_dots_go_on_where_they_stand_with_bars_or_without():
    for rows in ((), (b"bar",)):
        window = Window(20)
        window.draw(bars=rows)
        for count in range(1, 46):
            begin(window, b"." * count)
        begin(window, b"", b"." * 45 + b" done\n")
        assert "".join(window.lines[:3]) == "." * 45 + " done"
        assert window.lines[3:] == [row.decode() for row in rows]


def test_of_several_the_cursor_is_at_the_last_to_begin():
    window = Window()
    begin(window, b"first: ", key="a")
    begin(window, b"second: ", key="b")
    assert window.lines == ["second:", "first:"] and cursor(window) == (8, 0)
    begin(window, b"", b"second: done\n", key="b")
    assert window.lines == ["second: done", "first:"] and cursor(window) == (7, 1)


def test_a_line_that_is_edited_is_drawn_as_it_stands():
    window = Window()
    for typed, shown, column in (
        (b"", "(Pdb)", 6),
        (b"abc", "(Pdb) abc", 9),
        (b"abc\x08\x08", "(Pdb) abc", 7),
        (b"abc\x08\x08\x1b[P", "(Pdb) ac", 7),
        (b"abc\x08\x08\x1b[PX", "(Pdb) aX", 8),
    ):
        begin(window, b"(Pdb) " + typed)
        assert window.lines == [shown] and cursor(window) == (column, 0)


def test_after_a_shell_has_written_it_is_shown_again():
    window = Window()
    begin(window, b"name: ")
    window.stream.feed(b"\r\n[1]+ Stopped\r\n$ fg\r\n")
    window.put(window.terminal.redraw(resized=False))
    assert window.lines == ["name:", "[1]+ Stopped", "$ fg", "name:"]
    window.resize(30, 8)
    assert window.terminal.redraw() == b""


prompts = st.text(st.sampled_from("ab cé"), max_size=30)  # pyte cuts wide characters at the margin in two


@given(st.lists(st.tuples(prompts, st.lists(texts, max_size=2), st.lists(texts, max_size=2)), max_size=8))
def test_whatever_has_begun_the_lines_are_all_there(frames: list[tuple[str, list[str], list[str]]]):
    window, plain = Window(12, 7), Window(12, 7)
    for prompt, lines, rows in frames:
        data = "".join(line + "\n" for line in lines).encode()
        window.terminal.begin("a", prompt.encode())
        window.draw(data, bars=tuple(row.encode() for row in rows))
        plain.draw(data)
    window.terminal.begin("a", b"")
    window.put(window.terminal.frame(b"") + window.terminal.close())
    assert window.lines == plain.lines
