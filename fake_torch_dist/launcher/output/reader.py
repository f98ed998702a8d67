"""State of one stream of a rank that is read: its lines for the console, and its log files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from fake_torch_dist.launcher.logs import FilteredLog
from fake_torch_dist.launcher.output.merge import LineMerger
from fake_torch_dist.launcher.output.prefix import Source
from fake_torch_dist.launcher.output.writer import Output
from fake_torch_dist.terminal.descriptor import write_all


@dataclass(eq=False, slots=True)
class Reader:
    """Reader of the stream ``source``."""

    source: Source
    output: Output
    merger: LineMerger | None
    """Merger for the console; None if the stream is not shown."""
    lines: LineMerger | None
    """Merger for the filtered log, without prefix; None if there is none."""
    file: BinaryIO | None
    filtered: FilteredLog | None
    prefix: bytes
    shown_prefix: bytes
    """Prefix of its lines on the console; empty if they have none."""
    terminal_fd: int | None = None
    """Descriptor of the pseudo-terminal that the rank writes to; None if it is a pipe."""
    read_s: float = 0.0
    """Time of the last data, on the monotonic clock."""
    held_s: float | None = None
    """Time since which there is text of an unfinished line that is not shown; None if there is none."""

    def keep(self, data: bytes) -> None:
        """Write ``data`` to the log files; no data means the end. Raises OSError."""
        if self.file:
            write_all(self.file.fileno(), data)  # a disk that gets full takes a part, and fails only the next time
            if not data:
                self.file.close()
        if self.lines and self.filtered:
            self.filtered.write(self.lines.feed(data) if data else self.lines.close(), self.prefix)
