"""Writes lines and live rows to the launcher's outputs: to a terminal as frames, to anything else as they come."""

from __future__ import annotations

import select
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias

from fake_torch_dist.launcher.loop import EventLoop
from fake_torch_dist.launcher.output.begun_lines import BegunLines
from fake_torch_dist.launcher.output.reader import Reader
from fake_torch_dist.launcher.output.writer import Output
from fake_torch_dist.terminal.descriptor import moves_cursor, size_of
from fake_torch_dist.terminal.escapes import only_colors
from fake_torch_dist.terminal.live_rows import LiveTerminal

Batch: TypeAlias = dict[Output, list[bytes]]


class Screens:
    """Standard output and error, each with what is drawn on it. They are one output if they are the same file."""

    def __init__(self, out: Output, err: Output, environment: Mapping[str, str]) -> None:
        live = moves_cursor(environment)
        self._terminals: dict[Output, LiveTerminal] = {
            output: LiveTerminal(partial(size_of, fd))
            for fd, output in ((1, out), (2, err))
            if live and output.is_terminal
        }
        self._begun = {output: BegunLines() for output in (out, err) if output not in self._terminals}

    def is_live(self, output: Output) -> bool:
        """Return whether the output is a terminal that can keep rows at its bottom."""
        return output in self._terminals

    def write(self, output: Output, text: bytes) -> None:
        """Write whole lines of no rank, or of several."""
        if terminal := self._terminals.get(output):
            if frame := terminal.frame(text):
                output.write((frame,))
        else:
            self._write_plainly(output, self._begun[output].complete(None, text))

    def new_batch(self) -> Batch:
        """Return the texts that come together, by terminal; all are drawn as one frame."""
        return {output: [] for output in self._terminals}

    def add(self, reader: Reader, text: bytes, batch: Batch) -> None:
        """Write whole lines of one reader, or add them to the frame of its terminal."""
        output = reader.output
        if terminal := self._terminals.get(output):
            # A line that has begun at the cursor goes on there if it comes first.
            batch[output].insert(0 if terminal.at_cursor is reader else len(batch[output]), text)
        elif text:
            self._write_plainly(output, self._begun[output].complete(reader, text))

    def draw(self, batch: Batch) -> None:
        """Draw the frames of a batch."""
        for output, texts in batch.items():
            output.write((self._terminals[output].frame(b"".join(texts)),))

    def show_rows(self, reader: Reader) -> None:
        """Show the live rows of a reader's stream at the bottom of its terminal."""
        if reader.merger and (terminal := self._terminals.get(reader.output)):
            terminal.show(reader.source.stream, reader.merger.rows)

    # -- unfinished lines ---------------------------------------------------------------------------------------------

    def begin_line(self, reader: Reader, line: bytes, *, deduped: bool) -> None:
        """Show an unfinished line, unless a plain output waits for equal lines of other ranks."""
        output = reader.output
        if terminal := self._terminals.get(output):
            terminal.begin(reader, line)
            self.write(output, b"")
        elif line and not deduped:
            self._write_plainly(output, self._begun[output].begin(reader, line, reader.shown_prefix))

    def follow_line(self, reader: Reader, line: Callable[[], bytes], *, completed: bool, max_bytes: int) -> bool:
        """Go on with an unfinished line that is shown, up to ``max_bytes``. Returns whether all of it is shown now.

        ``completed``: the shown line has been completed, so ``line`` is another.
        """
        output = reader.output
        terminal = self._terminals.get(output)
        if terminal and reader in terminal.begun:
            text = line()
            if completed or not text:
                terminal.begin(reader, b"")
            elif len(text) <= max_bytes:
                terminal.begin(reader, text)
                return True
        elif not terminal and not completed and self._begun[output].last is reader:
            return len(line()) <= max_bytes
        return False

    def _write_plainly(self, output: Output, text: bytes) -> None:
        if text:
            output.write((only_colors(text) if output.is_terminal else text,))

    # -- the terminals themselves -------------------------------------------------------------------------------------

    def share(self) -> None:
        """Note that a rank writes to the terminals itself, so that their contents are not known any more."""
        for terminal in self._terminals.values():
            terminal.is_shared = True

    def clear(self) -> None:
        """Erase the live rows until they are drawn again."""
        for output, terminal in self._terminals.items():
            output.write([terminal.clear()])

    def redraw(self, *, resized: bool) -> None:
        """Draw the live rows again, after another program used the terminal or its size has changed."""
        for output, terminal in self._terminals.items():
            output.write([terminal.redraw(resized=resized)])

    def close(self) -> None:
        """Remove the live rows, and leave the cursor on a fresh line."""
        for output, terminal in self._terminals.items():
            output.write((terminal.close(),))


def watch(loop: EventLoop, output: Output, on_ready: Callable[[Output], None]) -> None:
    """Call ``on_ready`` when output that was full has room again, or its reader has gone."""
    if not output.pollable:
        return
    if not hasattr(select, "epoll"):
        loop.on_writable(output.fileno(), lambda: on_ready(output))
        return
    # Edge-triggered: a terminal can be ready and yet refuse what is written, over and over.
    edges = select.epoll()
    edges.register(output.fileno(), select.EPOLLOUT | select.EPOLLET)

    def on_edge() -> None:
        if edges.poll(0):
            on_ready(output)

    loop.on_readable(edges.fileno(), on_edge)
