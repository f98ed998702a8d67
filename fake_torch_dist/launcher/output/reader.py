"""One stream of one rank: its bytes become lines for the console, and go to log files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from fake_torch_dist.launcher.logs import FilteredLog
from fake_torch_dist.launcher.output.merge import LineMerger
from fake_torch_dist.launcher.output.prefix import Source
from fake_torch_dist.launcher.output.writer import Output


@dataclass(eq=False, slots=True)
class Reader:
    """Takes what is read of ``source``."""

    source: Source
    output: Output
    merger: LineMerger | None
    """For the console; None: it does not get there."""
    lines: LineMerger | None
    """For the filtered log, without prefix."""
    file: BinaryIO | None
    filtered: FilteredLog | None
    prefix: bytes
    shown_prefix: bytes
    """That of its lines on the console."""
    terminal_fd: int | None = None
    """The terminal that the rank writes to, if it is one."""
    read_s: float = 0.0
    """When something came last."""
    held_s: float | None = None
    """Since when there is text of an unfinished line that nobody has seen."""

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
