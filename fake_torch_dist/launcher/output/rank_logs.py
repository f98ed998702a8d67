"""Log files of ranks: the streams that are redirected or tee'd, and the lines that filters choose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from fake_torch_dist.launcher.commandline.config import LaunchConfig
from fake_torch_dist.launcher.logs import Destination, FilteredLog
from fake_torch_dist.launcher.output.prefix import Source
from fake_torch_dist.launcher.output.reader import Reader


class RankLogs:
    """Opens and writes log files. One that fails costs a message, not the job."""

    def __init__(self, config: LaunchConfig, on_error: Callable[[str], None]) -> None:
        self._config = config
        self._on_error = on_error
        self._filtered: dict[Path, FilteredLog] = {}

    def open(
        self, source: Source, destination: Destination, filtered_file: Path | None
    ) -> tuple[BinaryIO | None, FilteredLog | None]:
        """Return the log file and the filtered log of a stream, None for one not wanted; none if one cannot be made."""
        try:
            wanted = destination.filtered and filtered_file
            filtered = self._filtered_log(wanted, source.stream) if wanted else None
            return open(destination.file, "ab", buffering=0) if destination.file else None, filtered
        except OSError as error:
            self._report(source, error)
            return None, None

    def keep(self, reader: Reader, data: bytes) -> None:
        """Write what ``reader`` has read to its files; no data means the end."""
        try:
            reader.keep(data)
        except OSError as error:
            self._report(reader.source, error)
            reader.file, reader.filtered = None, None

    def close(self) -> None:
        """Close the filtered logs; other files are closed at the end of their streams."""
        for file in self._filtered.values():
            file.close()

    def _filtered_log(self, file: Path, stream: str) -> FilteredLog:
        if file not in self._filtered:
            config = self._config
            filters = config.duplicate_stdout_filters if stream == "stdout" else config.duplicate_stderr_filters
            self._filtered[file] = FilteredLog(file, filters)
        return self._filtered[file]

    def _report(self, source: Source, error: OSError) -> None:
        self._on_error(f"{source.stream} of rank {source.rank} can't be kept: {error}")
