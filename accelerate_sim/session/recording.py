"""``--record``: a session in an asciicast file (version 2), as a terminal would show it.

The file appears when it is complete, and never replaces another.

Format: https://docs.asciinema.org/manual/asciicast/v2/.
"""

from __future__ import annotations

import json
import os
import secrets
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from accelerate_sim.session.recorded_terminal import RecordedTerminal
from fake_torch_dist.terminal.descriptor import write_all

BUFFER_CHARS = 1 << 20


class RecordingFailed(Exception):
    """Raised when the file cannot be written, or its name is taken."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(f"--record: {path} can't be written: {error.strerror}. Nothing has been recorded.")


class Recording(RecordedTerminal):
    """An asciicast of a terminal of ``columns`` x ``rows`` at ``path``.

    It is written to an unnamed file, which gets its name when the recording is kept. Raises FileExistsError if the name
    is taken, and other OSErrors if nothing can be written there.
    """

    def __init__(self, path: Path, columns: int, rows: int) -> None:
        super().__init__(columns, rows)
        self.path = path
        self.frames = 0
        if os.path.lexists(path):
            raise FileExistsError(path)
        self._scratch: Path | None = None
        self.fd = self._open()
        self._encode = json.JSONEncoder(ensure_ascii=False).encode
        self._lines: list[str] = []
        self._chars = 0

    def _open(self) -> int:
        unnamed = getattr(os, "O_TMPFILE", 0)
        if unnamed:
            with suppress(OSError):  # not every file system has unnamed files
                return os.open(self.path.parent, os.O_WRONLY | unnamed, 0o644)
        self._scratch = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        return os.open(self._scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)

    def begin(self, start: datetime, title: str) -> None:
        """Write the first line. ``start`` is that of the simulated clock, in UTC if it has no zone."""
        seconds = int((start if start.tzinfo else start.replace(tzinfo=UTC)).timestamp())
        header = {
            "version": 2, "width": self.columns, "height": self.rows, "timestamp": seconds,
            "title": title, "env": {"TERM": "xterm-256color"}, "simulated": True,
        }  # fmt: skip
        self._add(self._encode(header))

    def show(self, text: str) -> None:
        """Record ``text``, which the terminal gets at this moment."""
        self.frames += 1
        self._add(f'[{self.time.now_s:.6f}, "o", {self._encode(text)}]')

    def _add(self, line: str) -> None:
        self._lines.append(line)
        self._chars += len(line)
        if self._chars > BUFFER_CHARS:
            self._flush()

    def _flush(self) -> None:
        data = "".join(f"{line}\n" for line in self._lines).encode()
        self._lines, self._chars = [], 0
        try:
            write_all(self.fd, data)
        except OSError as error:
            raise RecordingFailed(self.path, error) from None

    def keep(self) -> None:
        """Give the complete recording its name. Raises RecordingFailed, also if another file has taken it."""
        self._flush()
        try:
            os.fsync(self.fd)
            self._link()
        except OSError as error:
            raise RecordingFailed(self.path, error) from None

    def _link(self) -> None:
        if self._scratch:
            os.link(self._scratch, self.path)
            return
        # Only with dst_dir_fd does Python call linkat(), which follows the link in /proc to the unnamed file.
        directory = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.link(f"/proc/self/fd/{self.fd}", self.path.name, dst_dir_fd=directory, follow_symlinks=True)
        finally:
            os.close(directory)

    def __enter__(self) -> Recording:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self.fd)
        if self._scratch:
            with suppress(OSError):
                self._scratch.unlink()

    def summary(self) -> str:
        """A line about the file: length, size of the terminal, number of frames."""
        minutes, seconds = divmod(self.time.now_s, 60.0)
        size = f"{self.columns}x{self.rows}"
        return f"{self.path}: {int(minutes)}:{seconds:04.1f} of a {size} terminal, {self.frames:,} frames"
