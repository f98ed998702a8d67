"""Decides when text without a newline is shown, such as a prompt, or the dots of a heartbeat that a watchdog reads.

On a terminal it is shown as soon as the rank has written nothing for a moment. Elsewhere whole lines are preferred: it
is shown when nothing else has been written for a while, or its rank writes nothing for longer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from fake_torch_dist.launcher.loop import EventLoop, Timer
from fake_torch_dist.launcher.output.reader import Reader

TERMINAL_QUIET_S: Final = 0.1
OUTPUT_IDLE_S: Final = 0.5
RANK_QUIET_S: Final = 3.0


class UnfinishedLines:
    """Calls ``show`` with each reader whose unfinished line is due. One timer runs, only while there is such a line."""

    def __init__(
        self, loop: EventLoop, show: Callable[[Reader], None], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._loop = loop
        self._show = show
        self._monotonic = monotonic
        self._waiting: set[Reader] = set()
        self._timer: Timer | None = None

    def note(self, reader: Reader, *, completed: bool) -> None:
        """Note that data was read. ``completed``: it ended a line, so the text that is held has just begun."""
        assert reader.merger
        if not reader.merger.holds_text:
            if reader.held_s is not None:
                self._forget(reader)
            return
        reader.read_s = self._monotonic()
        if completed or reader.held_s is None:
            reader.held_s = reader.read_s
            self._waiting.add(reader)
        self._set_timer(self._due_s(reader))

    def seen(self, reader: Reader) -> None:
        """Note that all of the unfinished line has been shown."""
        if reader.held_s is not None:
            self._forget(reader)

    def _forget(self, reader: Reader) -> None:
        reader.held_s = None
        self._waiting.discard(reader)

    def _due_s(self, reader: Reader) -> float:
        if reader.output.is_terminal:
            return reader.read_s + TERMINAL_QUIET_S
        since_s = max(reader.held_s or 0.0, reader.output.written_s)
        return min(since_s + OUTPUT_IDLE_S, reader.read_s + RANK_QUIET_S)

    def _show_due(self) -> None:
        self._timer = None
        now_s = self._monotonic()
        for reader in [reader for reader in self._waiting if self._due_s(reader) <= now_s]:
            self._forget(reader)
            self._show(reader)
        if self._waiting:
            self._set_timer(min(map(self._due_s, self._waiting)))

    def _set_timer(self, due_s: float) -> None:
        """Set the timer to ``due_s``, unless it is due earlier."""
        if self._timer and self._timer.at_s <= due_s:
            return
        if self._timer:
            self._timer.cancel()
        self._timer = self._loop.at(due_s, self._show_due)
