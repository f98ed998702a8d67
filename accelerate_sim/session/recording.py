"""``--record``: the run as a terminal would show it, in an asciicast file (version 2), rendered as fast as it goes.

Nothing waits: real time is a number here that every wait moves on, so the frames and their times are those of a live
run on an undisturbed terminal. The file is there when it is whole, and never takes the place of another.

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

BUFFER_CHARS = 1 << 20


class RecordingFailed(Exception):
    """The file cannot be written, or not under this name."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(f"--record: {path} can't be written: {error.strerror}. Nothing has been recorded.")


class RecordedTime:
    """Real seconds that pass only when somebody waits."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def read(self) -> float:
        return self.now_s


class RecordedSignals(Signals):
    """Waiting takes no time; signals are taken all the same."""

    def __init__(self, time: RecordedTime) -> None:
        super().__init__(monotonic=time.read)
        self._time = time

    def wait(self, seconds: float) -> None:
        self._starting = False
        self.before_waiting(seconds)
        self.poll()
        if seconds > 0.0:
            left = seconds if self.deadline is None else min(seconds, self.deadline - self._time.now_s)
            self._time.now_s += left
            self.poll()


class Recording:
    """An asciicast of a terminal of this size at ``path``.

    Written to a file without a name, which gets one when the recording is kept. FileExistsError if the name is taken,
    other OSErrors if nothing can be written there.
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
            with suppress(OSError):  # not every file system has files without a name
                return os.open(self.path.parent, os.O_WRONLY | unnamed, 0o644)
        self._scratch = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        return os.open(self._scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)

    def begin(self, start: datetime, title: str) -> None:
        """Write the first line; ``start`` is the simulated clock's, taken as UTC where it names no zone."""
        seconds = int((start if start.tzinfo else start.replace(tzinfo=UTC)).timestamp())
        header = {
            "version": 2, "width": self.columns, "height": self.rows, "timestamp": seconds,
            "title": title, "env": {"TERM": "xterm-256color"}, "simulated": True,
        }  # fmt: skip
        self._add(self._encode(header))

    def show(self, text: str) -> None:
        """What the terminal gets now."""
        self.frames += 1
        self._add(f'[{self.time.now_s:.6f}, "o", {self._encode(text)}]')

    def _add(self, line: str) -> None:
        self._lines.append(line)
        self._chars += len(line)
        if self._chars > BUFFER_CHARS:
            self._flush()

    def _flush(self) -> None:
        data = memoryview("".join(f"{line}\n" for line in self._lines).encode())
        self._lines, self._chars = [], 0
        try:
            while data:
                data = data[os.write(self.fd, data) :]
        except OSError as error:
            raise RecordingFailed(self.path, error) from None

    def keep(self) -> None:
        """The recording is whole: give it its name. Raises RecordingFailed, also if another file has it by now."""
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
        # With a directory given, Python asks the system to follow the link that /proc has for the descriptor.
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
        """A session that is shown here; ``make`` takes its screen, clock, style and signals."""
        signals = RecordedSignals(self.time)
        signals.deadline = duration_s
        screen = RecordedScreen(self)
        clock = Clock(start, wait=signals.wait, monotonic=self.time.read)
        session = make(screen=screen, clock=clock, style=style, signals=signals)
        signals.on_pause = signals.on_redraw = lambda: None  # no terminal of ours is taken away or resized
        return session

    def summary(self) -> str:
        """What has been recorded, in a line."""
        minutes, seconds = divmod(self.time.now_s, 60.0)
        size = f"{self.columns}x{self.rows}"
        return f"{self.path}: {int(minutes)}:{seconds:04.1f} of a {size} terminal, {self.frames:,} frames"


class RecordedCanvas(TerminalCanvas):
    """A terminal of one size."""

    def __init__(self, columns: int, rows: int) -> None:
        super().__init__(-1)
        self._its_size = columns, rows

    def size(self) -> tuple[int, int]:
        return self._its_size


class RecordedScreen(Screen):
    """A terminal that is only written about."""

    def __init__(self, recording: Recording) -> None:
        super().__init__(recording.fd, live=True, monotonic=recording.time.read)
        self._canvas = RecordedCanvas(recording.columns, recording.rows)
        self._recording = recording

    def _emit(self, text: str) -> None:
        self._last_frame_s = self._monotonic()
        self._recording.show(text)
