"""Standard output and standard error of a process that logs in the voice of a framework.

Without a terminal, lines go to the stream that the framework uses, and a bar is written as tqdm writes it there: each
state after a carriage return, wiped out before a line and drawn again after it. On a terminal both streams are the
screen: lines scroll, and the bar stays below them.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from accelerate_sim.display.folding import cut
from accelerate_sim.display.screen import OutputClosed, Screen
from accelerate_sim.voices.voice import Bar, Line


class Streams:
    """Writes complete lines and a bar; ``screen`` is standard output."""

    def __init__(self, screen: Screen, *, error_fd: int = 2, bars: bool = True) -> None:
        """``bars``: show them."""
        self._screen = screen
        self._bars = bars
        self._bar: Bar | None = None
        self._bar_chars = 0
        """Characters of the bar's last state on a pipe."""
        if sys.stderr is None:  # it was closed before the program began, and its number may be another file's
            error_fd = os.open(os.devnull, os.O_WRONLY)
        self._errors = screen if screen.live or _are_same(screen.fd, error_fd) else screen.beside(error_fd)

    def show(self, item: Line | Bar, speaker: int | None = None) -> None:
        """Write a line, or the new state of the bar. ``speaker``: the rank that prints another's line."""
        if (outlet := self._screen.outlet) is not None:
            rank = item.rank if isinstance(item, Line) else None
            outlet.write_as(rank, printed_by=speaker)
            self._show(item)
            outlet.write_as(rank)
        else:
            self._show(item)

    def _show(self, item: Line | Bar) -> None:
        if isinstance(item, Bar):
            if self._bars:
                self._show_bar(item)
        elif self._screen.live and self._screen.outlet is not None:
            stream = "stderr" if item.to_stderr else "stdout"
            self._screen.outlet.lines(stream, [self._screen.named(item.text)])
        elif self._screen.live:
            parts = self._screen.named(item.text).split("\n")
            self._screen.write([row for part in parts for row in cut(part, self._screen.width)])
        elif self._bar:
            self._put(self._bar, f"\r{' ' * self._bar_chars}\r")
            self.write(item.text, to_stderr=item.to_stderr)
            self._bar_chars = 0
            self._draw(self._bar)
        else:
            self.write(item.text, to_stderr=item.to_stderr)

    def write(self, text: str, *, to_stderr: bool) -> None:
        """Write a line to one of the streams."""
        if to_stderr and self._errors is not self._screen:
            with suppress(OutputClosed):  # nobody reads it, which ends no program
                self._errors.write([text])
        else:
            self._screen.write([text])

    def _show_bar(self, bar: Bar) -> None:
        if self._screen.live:
            self._pin(bar)
            return
        self._draw(bar)
        self._bar = bar
        if bar.leaves is not None:
            self._put(bar, "\n" if bar.leaves else f"\r{' ' * self._bar_chars}\r")
            self._bar, self._bar_chars = None, 0

    def _draw(self, bar: Bar) -> None:
        text = bar.text(0)
        rest = self._bar_chars - len(text)
        self._put(bar, f"\r{text}{' ' * rest}" if rest > 0 else f"\r{text}")
        self._bar_chars = len(text)

    def _put(self, bar: Bar, text: str) -> None:
        if bar.to_stderr and self._errors is not self._screen:
            try:
                self._errors.put(text)
            except OutputClosed:  # nobody reads it, which ends no program
                return
        else:
            self._screen.put(text)

    def _pin(self, bar: Bar) -> None:
        if self._bar is None:
            self._screen.pin(self._render)
        self._bar = bar
        self._screen.refresh()
        if bar.leaves is not None:
            self._screen.unpin(self._render)
            if bar.leaves:
                self._screen.write([bar.text(self._screen.table_width - 1)])
            self._bar = None

    def end_bar(self) -> None:
        """End the line of a bar that will not be drawn again."""
        if self._bar and not self._screen.live:
            self._put(self._bar, "\n")
        self._bar, self._bar_chars = None, 0

    def _render(self, width: int) -> str:
        return self._bar.text(width - 1) if self._bar else ""

    def flush(self) -> None:
        """Write what has been collected for standard error; the screen is flushed by the session."""
        if self._errors is not self._screen:
            with suppress(OutputClosed):
                self._errors.flush()


def _are_same(fd: int, other: int) -> bool:
    """True if both descriptors are open on one file, as after ``2>&1``."""
    try:
        return os.path.sameopenfile(fd, other)
    except OSError:
        return False
