"""Merges the output of all ranks into the launcher's own: whole lines, prefixed, and in log files where asked.

A line that stays unfinished is shown after a while (``unfinished``), as a terminal (``live_rows``) or another output
(``begun_lines``) can show it.

Nothing blocks. While an output takes nothing, the pipes of the ranks are not read, so the ranks wait, and the rest of
the launcher goes on.
"""

from __future__ import annotations

import errno
import os
import selectors
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from fake_torch_dist.launcher.commandline.config import LaunchConfig
from fake_torch_dist.launcher.logs import Destination
from fake_torch_dist.launcher.loop import EventLoop
from fake_torch_dist.launcher.output.console import Console
from fake_torch_dist.launcher.output.dedupers import Dedupers
from fake_torch_dist.launcher.output.merge import LineMerger
from fake_torch_dist.launcher.output.prefix import Source, prefix_of
from fake_torch_dist.launcher.output.rank_logs import RankLogs
from fake_torch_dist.launcher.output.reader import Reader
from fake_torch_dist.launcher.output.screens import Screens, watch
from fake_torch_dist.launcher.output.unfinished import UnfinishedLines
from fake_torch_dist.launcher.output.writer import Output, standard_outputs
from fake_torch_dist.terminal.descriptor import set_size, size_of
from fake_torch_dist.terminal.escapes import width_of

READ_BYTES: Final = 65536
"""Size of a pipe. Larger pieces leave the processor's cache on their way through the merge, and take twice as long."""
BAR_EVERY_S: Final = 10.0
"""Interval at which a progress bar leaves a line in output that is no terminal."""
SHOWN_AT_ONCE_BYTES: Final = 4096
"""Length up to which an unfinished line that is shown goes on as it comes; a longer one is shown after a moment."""


class MergedOutput:
    """Takes the reading ends of the ranks' pipes; ``on_drained`` is called when the last of them has ended."""

    def __init__(
        self,
        loop: EventLoop,
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
        self._pipes = selectors.DefaultSelector()
        self._reading = False
        self.closing = False
        """The job is over, and only the rest of the output is still to be taken."""
        self.out, self.err = standard_outputs(on_error)
        self._screens = Screens(self.out, self.err, environment)
        self._unfinished = UnfinishedLines(loop, self._show_unfinished)
        self._rank_terminals: dict[int, Reader] = {}
        self._own_lines = LineMerger()
        self._dedupers = Dedupers(loop, self._write)
        self._logs = RankLogs(config, on_error)
        for output in {self.out, self.err}:
            watch(loop, output, self._on_output_ready)
        self._resume_reading()

    @property
    def is_live(self) -> bool:
        """True if standard output is a terminal that can keep rows at its bottom."""
        return self._screens.is_live(self.out)

    @property
    def console(self) -> Console:
        """The launcher's own outputs, with the present sizes of terminals."""
        outputs = {"stdout": (1, self.out), "stderr": (2, self.err)}
        sizes = {stream: size_of(fd) for stream, (fd, output) in outputs.items() if output.is_terminal}
        return Console(self.out is self.err, sizes)

    @property
    def is_drained(self) -> bool:
        """True if every pipe has ended."""
        return not self._pipes.get_map()

    @property
    def is_idle(self) -> bool:
        """True if all that was written to the pipes has been read and written on."""
        return not (self.out.blocked or self.err.blocked or self._pipes.select(0))

    def prefix_columns(self, source: Source) -> int:
        """Return the width of the prefix of a stream's lines, in columns."""
        return width_of(self._prefix(source))

    def _prefix(self, source: Source) -> bytes:
        return prefix_of(source, self._config.role, self._environment)

    def expect(self, sources: Iterable[Source]) -> None:
        """Set the ranks of the next attempt: with --dedupe a line waits for all of them."""
        if self._config.dedupe:
            self._dedupers.expect({self.out, self.err}, {source.rank: self._prefix(source) for source in sources})

    def add(
        self, fd: int, source: Source, destination: Destination, filtered_file: Path | None, *, shared: bool
    ) -> None:
        """Read ``fd`` from now on; it is closed at its end. ``shared``: it is standard output and error in one."""
        os.set_blocking(fd, False)
        prefix = self._prefix(source)
        file, filtered = self._logs.open(source, destination, filtered_file)
        reader = Reader(
            source=source,
            output=self.out if source.stream == "stdout" else self.err,
            merger=None,
            lines=LineMerger() if filtered else None,
            file=file,
            filtered=filtered,
            prefix=prefix,
            shown_prefix=prefix if destination.prefix and not self._config.dedupe else b"",
            terminal_fd=fd if os.isatty(fd) else None,
        )
        if destination.console:
            reader.merger = self._merger(reader, shared=shared)
        if reader.terminal_fd is not None:
            self._rank_terminals[fd] = reader
        self._pipes.register(fd, selectors.EVENT_READ, reader)

    def _merger(self, reader: Reader, *, shared: bool) -> LineMerger:
        output = reader.output
        is_live = self._screens.is_live(output)
        return LineMerger(
            reader.shown_prefix,
            live=reader.source.rank == 0 and is_live,
            bar_every_s=float("inf") if is_live else BAR_EVERY_S,
            keep_returns=not reader.shown_prefix and not self._config.dedupe and not output.is_terminal,
            shared=shared,
            columns=size_of(reader.terminal_fd)[0] if reader.terminal_fd is not None else 0,
        )

    # -- reading ------------------------------------------------------------------------------------------------------

    def _resume_reading(self) -> None:
        if not self._reading:
            self._reading = True
            self._loop.on_readable(self._pipes.fileno(), self._read)

    def _read(self) -> None:
        """Read one piece of each pipe that has data. A terminal gets what came together in one frame."""
        batch = self._screens.new_batch()
        for key, _ in self._pipes.select(0):
            try:
                data = os.read(key.fd, READ_BYTES)
            except BlockingIOError:
                continue
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                data = b""  # the end of a terminal: no process has it open any more
            reader: Reader = key.data
            if not data:
                self._pipes.unregister(key.fd)
                self._rank_terminals.pop(key.fd, None)
                os.close(key.fd)
            text = self._take(reader, data)
            self._screens.add(reader, text, batch)
            if text and reader.output.blocked and not self._screens.is_live(reader.output):
                break
            if reader.merger:
                self._follow(reader, completed=bool(text))
        self._screens.draw(batch)
        self._check_outputs()
        if self._dedupers:
            self._dedupers.schedule()
        if self.is_drained:
            self._on_drained()

    def _take(self, reader: Reader, data: bytes) -> bytes:
        """Give ``reader`` its next data, or none at its end. Returns lines that are due."""
        if reader.file or reader.filtered:
            self._logs.keep(reader, data)
        if not reader.merger:
            return b""
        text = reader.merger.feed(data) if data else reader.merger.close()
        if self._dedupers:
            text = self._dedupers.pass_on(reader, text, ended=not data)
        if reader.source.rank == 0:
            self._screens.show_rows(reader)
        return text

    def _follow(self, reader: Reader, *, completed: bool) -> None:
        """Note the unfinished line that ``reader`` holds now, and show what has been added to one that is shown."""
        assert reader.merger
        self._unfinished.note(reader, completed=completed)
        is_plain = not self._screens.is_live(reader.output)
        if self._screens.follow_line(
            reader, reader.merger.unfinished, completed=completed, max_bytes=SHOWN_AT_ONCE_BYTES
        ):
            if is_plain:
                self._show_unfinished(reader)
            self._unfinished.seen(reader)

    def _show_unfinished(self, reader: Reader) -> None:
        assert reader.merger
        self._screens.begin_line(reader, reader.merger.unfinished(), deduped=self._config.dedupe)
        self._check_outputs()

    # -- writing ------------------------------------------------------------------------------------------------------

    def _on_output_ready(self, output: Output) -> None:
        output.on_writable()
        self._check_outputs()

    def _write(self, output: Output, text: bytes) -> None:
        """Write whole lines of no rank, or of several."""
        self._screens.write(output, text)
        self._check_outputs()

    def _check_outputs(self) -> None:
        """Report a reader that has gone; stop reading while an output is full, and go on after it."""
        if self.out.closed or self.err.closed:
            self._on_reader_gone()
        blocked = self.out.blocked or self.err.blocked
        if blocked and self._reading:
            self._reading = False
            self._loop.forget(self._pipes.fileno())
        elif not blocked:
            self._resume_reading()
            if self.closing:
                self._loop.stop()

    def write_own(self, text: str) -> None:
        """Write text of the launcher itself to standard error."""
        own = text.encode(errors="backslashreplace")
        if self.err.is_terminal and b"\x1b" in own:  # a report may quote a rank's text that leaves a colour on
            own = self._own_lines.feed(own)
        self._write(self.err, own)

    def share_terminals(self) -> None:
        """Note that a rank writes to the terminals itself, so that their contents are not known any more."""
        self._screens.share()

    def clear(self) -> None:
        """Erase the live rows, which ``redraw`` draws again, so that a shell can write in their place."""
        self._screens.clear()

    def redraw(self, *, resized: bool = False) -> None:
        """Draw the terminals again; after a resize their ranks' pseudo-terminals get the new size, too."""
        self._screens.redraw(resized=resized)
        for fd, reader in self._rank_terminals.items() if resized else ():
            columns, rows = size_of(1 if reader.output is self.out else 2)
            columns = max(columns - width_of(reader.shown_prefix), 1)
            set_size(fd, columns, rows)
            if reader.merger:
                reader.merger.columns = columns

    def close(self, patience_s: float | None = None) -> None:
        """Write what is left and restore the terminals.

        Runs the loop until all is taken, the reader has gone, or ``patience_s`` have passed.
        """
        self._dedupers.close()
        self._screens.close()
        self._logs.close()
        if self.out.blocked or self.err.blocked:
            self.closing = True
            if patience_s is not None:
                self._loop.after(patience_s, self._loop.stop)
            self._loop.run()
        for output in {self.out, self.err}:
            output.release()
