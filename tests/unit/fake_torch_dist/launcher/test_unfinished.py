"""When an unfinished line is due: soon on a terminal, else when the output is idle or its rank is silent for long."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from fake_torch_dist.launcher.loop import EventLoop, Timer
from fake_torch_dist.launcher.output.merge import LineMerger
from fake_torch_dist.launcher.output.prefix import Source
from fake_torch_dist.launcher.output.reader import Reader
from fake_torch_dist.launcher.output.unfinished import OUTPUT_IDLE_S, RANK_QUIET_S, TERMINAL_QUIET_S, UnfinishedLines
from fake_torch_dist.launcher.output.writer import Output


class Clock(EventLoop):
    """A loop whose time is told."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 100.0
        self.timers: list[Timer] = []

    def at(self, monotonic_s: float, callback: Callable[[], None]) -> Timer:
        self.timers.append(Timer(monotonic_s, callback))
        return self.timers[-1]

    @property
    def due(self) -> list[Timer]:
        return [timer for timer in self.timers if timer.callback]

    def go_to(self, now_s: float) -> None:
        self.now_s = now_s
        for timer in self.due:
            if timer.at_s <= now_s and timer.callback:
                callback, timer.callback = timer.callback, None
                callback()


@pytest.fixture
def null() -> Iterator[int]:
    fd = os.open(os.devnull, os.O_WRONLY)
    yield fd
    os.close(fd)


class Watched:
    def __init__(self, null: int, *, is_terminal: bool) -> None:
        self.clock = Clock()
        self.seen: list[Reader] = []
        self.lines = UnfinishedLines(self.clock, self.seen.append, lambda: self.clock.now_s)
        self.output = Output(null, on_error=print)
        self.output.is_terminal = is_terminal

    def reader(self) -> Reader:
        return Reader(Source(0, 0, "", "stdout"), self.output, LineMerger(), None, None, None, b"", b"")

    def read(self, reader: Reader, data: bytes) -> None:
        assert reader.merger
        self.lines.note(reader, completed=bool(reader.merger.feed(data)))


def test_a_prompt_on_a_terminal_is_due_when_its_rank_is_quiet(null: int) -> None:
    watched = Watched(null, is_terminal=True)
    reader = watched.reader()
    watched.read(reader, b"na")
    watched.clock.go_to(100.05)
    watched.read(reader, b"me: ")
    watched.clock.go_to(100.05 + TERMINAL_QUIET_S - 0.01)
    assert not watched.seen
    watched.clock.go_to(100.06 + TERMINAL_QUIET_S)
    assert watched.seen == [reader]
    assert not watched.clock.due, "nothing is looked at while nothing waits"


def test_whole_lines_are_never_due(null: int) -> None:
    watched = Watched(null, is_terminal=True)
    watched.read(watched.reader(), b"line\n")
    assert not watched.clock.due
    reader = watched.reader()
    watched.read(reader, b"half")
    watched.read(reader, b" of it\n")
    watched.clock.go_to(200.0)
    assert not watched.seen and not watched.clock.due


def test_dots_in_a_pipe_are_due_when_nothing_else_is_written(null: int) -> None:
    watched = Watched(null, is_terminal=False)
    reader = watched.reader()
    for number in range(3):
        watched.clock.go_to(100.0 + 0.3 * number)
        watched.read(reader, b".")
    assert watched.seen == [reader]
    assert watched.clock.now_s >= 100.0 + OUTPUT_IDLE_S


def test_a_busy_output_is_left_whole_for_a_while(null: int) -> None:
    watched = Watched(null, is_terminal=False)
    reader = watched.reader()
    watched.read(reader, b"loading")
    for tenth in range(1, 40):
        watched.output.written_s = watched.clock.now_s
        watched.clock.go_to(100.0 + tenth / 10)
        assert bool(watched.seen) == (tenth / 10 >= RANK_QUIET_S)


def test_the_earlier_of_two_is_not_missed(null: int) -> None:
    watched = Watched(null, is_terminal=False)
    first, second = watched.reader(), watched.reader()
    watched.read(first, b"slow")
    second.output = Output(null, on_error=print)
    second.output.is_terminal = True
    watched.read(second, b"name: ")
    watched.clock.go_to(100.01 + TERMINAL_QUIET_S)
    assert watched.seen == [second]
    watched.clock.go_to(101.0)
    assert watched.seen == [second, first]
