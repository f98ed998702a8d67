"""The output of all ranks on its way to the launcher's own: whole lines, prefixed, and to log files where asked.

A line that stays unfinished is shown after a while (see unfinished.py), in a way that suits a terminal (terminal.py) or
anything else (begun_lines.py).

Nothing blocks: while nobody takes the output, the pipes of the ranks are not read, so the ranks wait, and the rest of
the launcher goes on.
"""

from __future__ import annotations

import errno
import os
import select
import selectors
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import BinaryIO, Final

from fake_torch_dist.launcher.commandline.config import LaunchConfig
from fake_torch_dist.launcher.logs import Destination, FilteredLog
from fake_torch_dist.launcher.loop import Loop, Timer
from fake_torch_dist.launcher.output.begun_lines import BegunLines
from fake_torch_dist.launcher.output.console import Console
from fake_torch_dist.launcher.output.dedupe import Deduper
from fake_torch_dist.launcher.output.merge import LineMerger
from fake_torch_dist.launcher.output.prefix import Source, prefix_of
from fake_torch_dist.launcher.output.reader import Reader
from fake_torch_dist.launcher.output.unfinished import UnfinishedLines
from fake_torch_dist.launcher.output.writer import Output, standard_outputs
from fake_torch_dist.terminal.descriptor import set_size, size_of
from fake_torch_dist.terminal.escapes import only_colors, width_of
from fake_torch_dist.terminal.live_rows import LiveTerminal

READ_BYTES: Final = 65536
"""A pipe's size. Larger pieces leave the processor's cache on their way through the merge, and take twice as long."""
BAR_EVERY_S: Final = 10.0
SHOWN_AT_ONCE_BYTES: Final = 4096
"""Up to this length an unfinished line that has been shown goes on as it comes; a longer one after a moment."""


class MergedOutput:
    """Takes the reading ends of the ranks' pipes; ``on_drained`` is called when the last of them has ended."""

    def __init__(
        self,
        loop: Loop,
        config: LaunchConfig,
        environment: Mapping[str, str],
        *,
        on_drained: Callable[[], None],
        on_reader_gone: Callable[[], None],
        on_error: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._config = config
        self._environment = environment
        self._on_drained = on_drained
        self._on_reader_gone = on_reader_gone
        self._on_error = on_error
        self._pipes = selectors.DefaultSelector()
        self._reading = False
        self.closing = False
        """The job is over, and what is left is to be taken."""
        self.out, self.err = standard_outputs(on_error)
        live = environment.get("TERM") != "dumb"
        self._terminals: dict[Output, LiveTerminal] = {
            output: LiveTerminal(lambda fd=fd: size_of(fd))  # type: ignore[misc]
            for fd, output in ((1, self.out), (2, self.err))
            if live and output.is_terminal
        }
        self._begun = {output: BegunLines() for output in (self.out, self.err) if output not in self._terminals}
        self._unfinished = UnfinishedLines(loop, self._show_unfinished)
        self._rank_terminals: dict[int, Reader] = {}
        self._own_words = LineMerger()
        self._dedupers: dict[Output, Deduper] = {}
        self._release: Timer | None = None
        self._files: dict[Path, FilteredLog] = {}
        for output in {self.out, self.err}:
            self._watch(output)
        self._read_on()

    @property
    def is_live(self) -> bool:
        """Whether standard output is a terminal that can keep rows at its bottom."""
        return self.out in self._terminals

    @property
    def console(self) -> Console:
        """What ranks may have of it, at its present size."""
        outputs = {"stdout": (1, self.out), "stderr": (2, self.err)}
        sizes = {stream: size_of(fd) for stream, (fd, output) in outputs.items() if output.is_terminal}
        return Console(self.out is self.err, sizes)

    @property
    def drained(self) -> bool:
        """Whether every pipe has ended."""
        return not self._pipes.get_map()

    @property
    def idle(self) -> bool:
        """Whether all that was written to the pipes has been read, and taken."""
        return not (self.out.blocked or self.err.blocked or self._pipes.select(0))

    def prefix_columns(self, source: Source) -> int:
        """What a line's prefix takes of a terminal's width."""
        return width_of(prefix_of(source, self._config.role, self._environment))

    def expect(self, sources: Iterable[Source]) -> None:
        """The ranks of the next attempt, for --dedupe: a line waits for all of them."""
        if self._config.dedupe:
            prefixes = {source.rank: prefix_of(source, self._config.role, self._environment) for source in sources}
            self._dedupers = {output: Deduper(prefixes) for output in {self.out, self.err}}

    def add(
        self, fd: int, source: Source, destination: Destination, filtered_file: Path | None, *, shared: bool
    ) -> None:
        """Read ``fd`` from now on; it is closed at its end. ``shared``: it is standard output and error in one."""
        os.set_blocking(fd, False)
        prefix = prefix_of(source, self._config.role, self._environment)
        file, filtered = self._log_files(source, destination, filtered_file)
        shown_prefix = prefix if destination.prefix and not self._config.dedupe else b""
        reader = Reader(
            source,
            self._output_of(source),
            None,
            LineMerger() if filtered else None,
            file,
            filtered,
            prefix,
            shown_prefix,
            fd if os.isatty(fd) else None,
        )
        if destination.console:
            reader.merger = self._merger(reader, shared=shared)
        if reader.terminal_fd is not None:
            self._rank_terminals[fd] = reader
        self._pipes.register(fd, selectors.EVENT_READ, reader)

    def _output_of(self, source: Source) -> Output:
        return self.out if source.stream == "stdout" else self.err

    def _log_files(
        self, source: Source, destination: Destination, filtered_file: Path | None
    ) -> tuple[BinaryIO | None, FilteredLog | None]:
        """Those that are wanted; none of them if one can't be made."""
        try:
            wanted = destination.filtered and filtered_file
            filtered = self._filtered_log(wanted, source.stream) if wanted else None
            return open(destination.file, "ab", buffering=0) if destination.file else None, filtered
        except OSError as error:
            self._not_kept(source, error)
            return None, None

    def _not_kept(self, source: Source, error: OSError) -> None:
        self._on_error(f"{source.stream} of rank {source.rank} can't be kept: {error}")

    def _filtered_log(self, file: Path, stream: str) -> FilteredLog:
        if file not in self._files:
            config = self._config
            filters = config.duplicate_stdout_filters if stream == "stdout" else config.duplicate_stderr_filters
            self._files[file] = FilteredLog(file, filters)
        return self._files[file]

    def _merger(self, reader: Reader, *, shared: bool) -> LineMerger:
        output = reader.output
        return LineMerger(
            reader.shown_prefix,
            live=reader.source.rank == 0 and output in self._terminals,
            bar_every_s=float("inf") if output in self._terminals else BAR_EVERY_S,
            keep_returns=not reader.shown_prefix and not self._config.dedupe and not output.is_terminal,
            shared=shared,
            columns=size_of(reader.terminal_fd)[0] if reader.terminal_fd is not None else 0,
        )

    # -- reading ------------------------------------------------------------------------------------------------------

    def _read_on(self) -> None:
        if not self._reading:
            self._reading = True
            self._loop.on_readable(self._pipes.fileno(), self._read)

    def _read(self) -> None:
        """One piece of each pipe that has something. A terminal gets what came together in one frame."""
        frame: dict[Output, list[bytes]] = {output: [] for output in self._terminals}
        for key, _ in self._pipes.select(0):
            try:
                data = os.read(key.fd, READ_BYTES)
            except BlockingIOError:
                continue
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                data = b""  # a terminal that nobody has open any more
            reader: Reader = key.data
            if not data:
                self._pipes.unregister(key.fd)
                self._rank_terminals.pop(key.fd, None)
                os.close(key.fd)
            output = reader.output
            text = self._take(reader, data)
            if terminal := self._terminals.get(output):
                # Its line goes on where it stands if it comes first.
                frame[output].insert(0 if terminal.at_cursor is reader else len(frame[output]), text)
            elif text:
                self._write_plainly(output, self._begun[output].complete(reader, text))
                if output.blocked:
                    break
            if reader.merger:
                self._follow(reader, completed=bool(text))
        for output, texts in frame.items():
            output.write((self._terminals[output].frame(b"".join(texts)),))
        self._look_at_outputs()
        if self._dedupers:
            self._schedule_release()
        if self.drained:
            self._on_drained()

    def _take(self, reader: Reader, data: bytes) -> bytes:
        """``data`` is what ``reader`` gets next, or nothing at its end. Returns lines that are due."""
        if reader.file or reader.filtered:
            self._keep(reader, data)
        if not reader.merger:
            return b""
        text = reader.merger.feed(data) if data else reader.merger.close()
        if deduper := self._dedupers.get(reader.output):
            text = deduper.add(reader.source.rank, text)
            if not data:
                text += deduper.leave(reader.source.rank)
        if reader.source.rank == 0 and (terminal := self._terminals.get(reader.output)):
            terminal.show(reader.source.stream, reader.merger.rows)
        return text

    # -- unfinished lines ---------------------------------------------------------------------------------------------

    def _follow(self, reader: Reader, *, completed: bool) -> None:
        """See to what ``reader`` holds now of an unfinished line."""
        assert reader.merger
        self._unfinished.note(reader, completed=completed)
        terminal = self._terminals.get(reader.output)
        if terminal and reader in terminal.begun:
            line = reader.merger.unfinished()
            if completed or not line:
                terminal.begin(reader, b"")
            elif len(line) <= SHOWN_AT_ONCE_BYTES:
                terminal.begin(reader, line)
                self._unfinished.seen(reader)
        elif not terminal and not completed and self._begun[reader.output].last is reader:
            line = reader.merger.unfinished()
            if len(line) <= SHOWN_AT_ONCE_BYTES:
                self._show_unfinished(reader)
                self._unfinished.seen(reader)

    def _show_unfinished(self, reader: Reader) -> None:
        assert reader.merger
        line, output = reader.merger.unfinished(), reader.output
        if terminal := self._terminals.get(output):
            terminal.begin(reader, line)
            self._write(output, b"")
        elif line and not self._config.dedupe:
            self._write_plainly(output, self._begun[output].begin(reader, line, reader.shown_prefix))
            self._look_at_outputs()

    def _write_plainly(self, output: Output, text: bytes) -> None:
        if text:
            output.write((only_colors(text) if output.is_terminal else text,))

    def _keep(self, reader: Reader, data: bytes) -> None:
        try:
            reader.keep(data)
        except OSError as error:
            self._not_kept(reader.source, error)
            reader.file, reader.filtered = None, None

    # -- writing ------------------------------------------------------------------------------------------------------

    def _watch(self, output: Output) -> None:
        """Hear of it when output that was full has room again, or its reader has gone."""
        if not output.pollable:
            return
        if hasattr(select, "epoll"):
            # Edges only: a terminal can be ready and yet refuse what is written, over and over.
            edges = select.epoll()
            edges.register(output.fileno(), select.EPOLLOUT | select.EPOLLET)
            self._loop.on_readable(edges.fileno(), lambda: self._on_edge(edges, output))
        else:
            self._loop.on_writable(output.fileno(), lambda: self._on_room(output))

    def _on_edge(self, edges: select.epoll, output: Output) -> None:
        if edges.poll(0):
            self._on_room(output)

    def _on_room(self, output: Output) -> None:
        output.on_writable()
        self._look_at_outputs()

    def _write(self, output: Output, text: bytes) -> None:
        """Whole lines that are of no rank, or of several."""
        if terminal := self._terminals.get(output):
            if frame := terminal.frame(text):
                output.write((frame,))
        else:
            self._write_plainly(output, self._begun[output].complete(None, text))
        self._look_at_outputs()

    def _look_at_outputs(self) -> None:
        if self.out.closed or self.err.closed:
            self._on_reader_gone()
        blocked = self.out.blocked or self.err.blocked
        if blocked and self._reading:
            self._reading = False
            self._loop.forget(self._pipes.fileno())
        elif not blocked:
            self._read_on()
            if self.closing:
                self._loop.stop()

    def _schedule_release(self) -> None:
        due_s = min((deduper.deadline_s for deduper in self._dedupers.values() if deduper.deadline_s), default=None)
        if self._release:
            self._release.cancel()
        self._release = None if due_s is None else self._loop.at(due_s, self._release_lines)

    def _release_lines(self) -> None:
        for output, deduper in self._dedupers.items():
            self._write(output, deduper.release())
        self._schedule_release()

    # -- the launcher's own words -------------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """Something of the launcher's, on standard error."""
        words = text.encode(errors="backslashreplace")
        if self.err.is_terminal and b"\x1b" in words:  # a rank's last words may leave a colour on
            words = self._own_words.feed(words)
        self._write(self.err, words)

    def share_terminals(self) -> None:
        """A rank writes to them, too, and nothing is known of that."""
        for terminal in self._terminals.values():
            terminal.is_shared = True

    def redraw(self, *, resized: bool = False) -> None:
        """The terminal is ours again, or has another size: then those of the ranks get it, too."""
        for output, terminal in self._terminals.items():
            output.write([terminal.redraw(resized=resized)])
        if resized:
            for fd, reader in self._rank_terminals.items():
                columns, rows = size_of(1 if reader.output is self.out else 2)
                columns = max(columns - width_of(reader.shown_prefix), 1)
                set_size(fd, columns, rows)
                if reader.merger:
                    reader.merger.columns = columns

    def close(self, patience_s: float | None = None) -> None:
        """Leave the terminal as a program should. Runs the loop until all is taken, or nobody is there to take it, or
        ``patience_s`` have passed.
        """
        for output, deduper in self._dedupers.items():
            self._write(output, deduper.close())
        for output, terminal in self._terminals.items():
            output.write((terminal.close(),))
        for file in self._files.values():
            file.close()
        if self.out.blocked or self.err.blocked:
            self.closing = True
            if patience_s is not None:
                self._loop.after(patience_s, self._loop.stop)
            self._loop.run()
        for output in {self.out, self.err}:
            output.release()
