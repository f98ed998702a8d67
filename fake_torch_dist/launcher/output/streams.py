"""The output of all ranks on its way to the launcher's own: whole lines, prefixed, and to log files where asked.

Nothing blocks: while nobody takes the output, the pipes of the ranks are not read, so the ranks wait, and the rest of
the launcher goes on.
"""

from __future__ import annotations

import os
import select
import selectors
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import BinaryIO, Final

from fake_torch_dist.terminals import size_of

from ..commandline.config import LaunchConfig
from ..logs import Destination, FilteredLog
from ..loop import Loop, Timer
from .dedupe import Deduper
from .merge import LineMerger
from .output import Output, standard_outputs
from .prefix import Source, prefix_of
from .terminal import LiveTerminal

READ_BYTES: Final = 65536
"""A pipe's size. Larger pieces leave the processor's cache on their way through the merge, and take twice as long."""
BAR_EVERY_S: Final = 10.0


class _Reader:
    """What becomes of the bytes of one source."""

    def __init__(
        self, source: Source, merger: LineMerger | None, lines: LineMerger | None, file: BinaryIO | None,
        filtered: FilteredLog | None, prefix: bytes,
    ) -> None:  # fmt: skip
        self.source = source
        self.merger = merger
        """For the console; None: it does not get there."""
        self.lines = lines
        """For the filtered log, without prefix."""
        self.file = file
        self.filtered = filtered
        self.prefix = prefix

    def keep(self, data: bytes) -> None:
        """In the log files; nothing means the end. Raises OSError."""
        if self.file:
            rest = memoryview(data)
            while rest:  # a disk that gets full takes a part, and says so only the next time
                rest = rest[self.file.write(rest) :]
            if not data:
                self.file.close()
        if self.lines and self.filtered:
            self.filtered.write(self.lines.feed(data) if data else self.lines.close(), self.prefix)


class Streams:
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
            if live and os.isatty(fd)
        }
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
    def drained(self) -> bool:
        """Whether every pipe has ended."""
        return not self._pipes.get_map()

    @property
    def idle(self) -> bool:
        """Whether all that was written to the pipes has been read, and taken."""
        return not (self.out.blocked or self.err.blocked or self._pipes.select(0))

    def prefix_columns(self, source: Source) -> int:
        """What a line's prefix takes of a terminal's width."""
        return len(os.fsdecode(prefix_of(source, self._config.role, self._environment)))

    def expect(self, sources: Iterable[Source]) -> None:
        """The ranks of the next attempt, for --dedupe: a line waits for all of them."""
        if self._config.dedupe:
            prefixes = {source.rank: prefix_of(source, self._config.role, self._environment) for source in sources}
            self._dedupers = {output: Deduper(prefixes) for output in {self.out, self.err}}

    def add(self, fd: int, source: Source, destination: Destination, filtered_file: Path | None) -> None:
        """Read ``fd`` from now on; it is closed at its end."""
        os.set_blocking(fd, False)
        prefix = prefix_of(source, self._config.role, self._environment)
        file, filtered = self._log_files(source, destination, filtered_file)
        reader = _Reader(
            source,
            self._merger(source, prefix if destination.prefix else b"") if destination.console else None,
            LineMerger() if filtered else None,
            file,
            filtered,
            prefix,
        )
        self._pipes.register(fd, selectors.EVENT_READ, reader)

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

    def _merger(self, source: Source, prefix: bytes) -> LineMerger:
        output = self.out if source.stream == "stdout" else self.err
        if self._config.dedupe:
            prefix = b""
        live = source.rank == 0 and output in self._terminals
        return LineMerger(prefix, live=live, bar_every_s=float("inf") if output in self._terminals else BAR_EVERY_S)

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
            reader: _Reader = key.data
            if not data:
                self._pipes.unregister(key.fd)
                os.close(key.fd)
            output = self.out if reader.source.stream == "stdout" else self.err
            text = self._take(reader, data, output)
            if output in frame:
                frame[output].append(text)
            elif text:
                output.write((text,))
                if output.blocked:
                    break
        for output, texts in frame.items():
            output.write((self._terminals[output].frame(b"".join(texts)),))
        self._look_at_outputs()
        if self._dedupers:
            self._schedule_release()
        if self.drained:
            self._on_drained()

    def _take(self, reader: _Reader, data: bytes, output: Output) -> bytes:
        """``data`` is what ``reader`` gets next, or nothing at its end. Returns lines that are due."""
        if reader.file or reader.filtered:
            self._keep(reader, data)
        if not reader.merger:
            return b""
        text = reader.merger.feed(data) if data else reader.merger.close()
        if deduper := self._dedupers.get(output):
            text = deduper.add(reader.source.rank, text)
            if not data:
                text += deduper.leave(reader.source.rank)
        if terminal := self._terminals.get(output):
            terminal.show(reader.source.stream, reader.merger.rows)
        return text

    def _keep(self, reader: _Reader, data: bytes) -> None:
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
        if terminal := self._terminals.get(output):
            text = terminal.frame(text)
        if text:
            output.write((text,))
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
        self._write(self.err, text.encode(errors="backslashreplace"))

    def redraw(self) -> None:
        """The terminal has another size, or is ours again."""
        for output, terminal in self._terminals.items():
            output.write([terminal.redraw()])

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
