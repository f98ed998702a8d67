"""``--record``: a session in an asciicast file (version 2), as a terminal would show it.

Nothing waits: real time is a number that each wait increases, so frames and times are those of a live session on an
idle machine. The file appears when it is complete, and never replaces another.

Format: https://docs.asciinema.org/manual/asciicast/v2/.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from accelerate_sim.display.canvas import TerminalCanvas
from accelerate_sim.display.screen import Screen
from accelerate_sim.display.style import Style
from accelerate_sim.process.clock import Clock
from accelerate_sim.process.signals import Signals
from accelerate_sim.session.session import Session
from fake_torch_dist.terminal.descriptor import write_all

BUFFER_CHARS = 1 << 20


class RecordingFailed(Exception):
    """Raised when the file cannot be written, or its name is taken."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(f"--record: {path} can't be written: {error.strerror}. Nothing has been recorded.")


class RecordedTime:
    """Real seconds that pass only in waits."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def read(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> None:
        self.now_s += seconds


class RecordedSignals(Signals):
    """Signals of a recorded session: waits take no time, and no terminal is resized or taken away by Ctrl-Z."""

    def __init__(self, time: RecordedTime, deadline: float | None) -> None:
        super().__init__(monotonic=time.read, deadline=deadline)
        self._time = time

    def add_listener(
        self,
        *,
        before_waiting: Callable[[float], None] | None = None,
        on_pause: Callable[[], None] | None = None,
        on_redraw: Callable[[], None] | None = None,
    ) -> None:
        """Add the listener of waits only."""
        super().add_listener(before_waiting=before_waiting)

    def wait(self, seconds: float) -> None:
        """Move the recorded time on, at most to the deadline. Raises ``Stopped``."""
        self.begin_waiting(seconds)
        self.poll()
        if seconds > 0.0:
            left = seconds if self.deadline is None else min(seconds, self.deadline - self._time.now_s)
            self._time.advance(left)
            self.poll()


class Recording:
    """An asciicast of a terminal of ``columns`` x ``rows`` at ``path``.

    It is written to an unnamed file, which gets its name when the recording is kept. Raises FileExistsError if the name
    is taken, and other OSErrors if nothing can be written there.
    """

    def __init__(self, path: Path, columns: int, rows: int) -> None:
        self.path = path
        self.columns, self.rows = columns, rows
        self.time = RecordedTime()
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

    def session(
        self, start: datetime, style: Style, *, duration_s: float | None, make: Callable[..., Session]
    ) -> Session:
        """A session that is recorded here. ``make`` is given its screen, clock, style and signals."""
        signals = RecordedSignals(self.time, duration_s)
        clock = Clock(start, wait=signals.wait, monotonic=self.time.read)
        return make(screen=RecordedScreen(self, signals), clock=clock, style=style, signals=signals)

    def summary(self) -> str:
        """A line about the file: length, size of the terminal, number of frames."""
        minutes, seconds = divmod(self.time.now_s, 60.0)
        size = f"{self.columns}x{self.rows}"
        return f"{self.path}: {int(minutes)}:{seconds:04.1f} of a {size} terminal, {self.frames:,} frames"


class RecordedCanvas(TerminalCanvas):
    """A terminal whose size never changes."""

    def __init__(self, columns: int, rows: int) -> None:
        super().__init__(-1)
        self._fixed_size = columns, rows

    def size(self) -> tuple[int, int]:
        return self._fixed_size


class RecordedScreen(Screen):
    """A screen whose frames go into a recording."""

    def __init__(self, recording: Recording, signals: Signals) -> None:
        super().__init__(
            recording.fd, live=True, monotonic=recording.time.read, on_blocked=signals.end_if_told,
            canvas=RecordedCanvas(recording.columns, recording.rows),
        )  # fmt: skip
        self._recording = recording

    def deliver(self, text: str) -> None:
        """Record ``text``."""
        self._recording.show(text)
