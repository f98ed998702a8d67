"""Lines and bars of a framework's voice go to the stream that the framework uses."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

from accelerate_sim.display.screen import Screen
from accelerate_sim.reporting.streams import Streams
from accelerate_sim.voices.voice import Bar, Line


class Pipes:
    """Standard output and standard error of streams, and what was written to them."""

    def __init__(self) -> None:
        self.readers, self.writers = zip(*(os.pipe() for _ in range(2)), strict=True)

    def written(self, streams: Streams, screen: Screen) -> list[str]:
        screen.flush()
        streams.flush()
        for writer in self.writers:
            os.write(writer, b".")  # so that a read of an empty pipe does not wait
        return [os.read(reader, 4096).decode()[:-1] for reader in self.readers]


@pytest.fixture
def pipes() -> Iterator[Pipes]:
    pipes = Pipes()
    yield pipes
    for fd in (*pipes.readers, *pipes.writers):
        os.close(fd)


def test_lines_go_to_their_streams_and_a_bar_is_wiped_out_for_them(pipes: Pipes) -> None:
    screen = Screen(pipes.writers[0], live=False)
    streams = Streams(screen, error_fd=pipes.writers[1])
    streams.show(Bar(lambda width: "50%"))
    streams.show(Line("out"))
    streams.show(Line("err", to_stderr=True))
    streams.show(Bar(lambda width: "100%", leaves=True))
    assert pipes.written(streams, screen) == ["out\n", "\r50%\r   \r\r50%\r   \rerr\n\r50%\r100%\n"]


def test_one_pipe_for_both_keeps_the_order(pipes: Pipes) -> None:
    screen = Screen(pipes.writers[0], live=False)
    streams = Streams(screen, error_fd=pipes.writers[0])
    for number in range(4):
        streams.show(Line(f"line {number}", to_stderr=bool(number % 2)))
    assert pipes.written(streams, screen)[0] == "line 0\nline 1\nline 2\nline 3\n"


def test_a_standard_error_that_is_closed_takes_nothing(pipes: Pipes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    screen = Screen(pipes.writers[0], live=False)
    streams = Streams(screen, error_fd=pipes.writers[1])
    streams.show(Line("err", to_stderr=True))
    assert pipes.written(streams, screen) == ["", ""]
