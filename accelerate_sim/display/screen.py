"""Writes log lines that scroll, and live lines that stay below them, to a terminal or a pipe.

Every frame is one write. A ``Canvas`` (canvas.py) encodes it: with escape codes for a terminal, or in the launcher's
protocol where a launcher draws. Without a terminal there are no live lines: text is plain, and a bar writes a
line now and then.
"""

import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TextIO

from accelerate_sim.display.canvas import Canvas, LauncherCanvas, TerminalCanvas
from accelerate_sim.display.cell_output import UNFOLDED, replaced_stderr
from accelerate_sim.display.slow_reader import OutputClosed as OutputClosed
from accelerate_sim.display.slow_reader import SlowReader

if TYPE_CHECKING:
    from accelerate_sim.hazards.outlet import Outlet
    from accelerate_sim.hazards.rank_outlets import RankOutlets

FRAME_S = 0.05
"""Shortest time between two frames, in real seconds."""
PIPE_BUFFER_BYTES = 32768
PIPE_WIDTH = 120
"""Columns of tables and bars where there is no terminal."""
LEAST_BESIDE_NOTE = 24
"""Columns that a bar needs to be shown after a note."""


class Screen:
    """Writes to file descriptor ``fd``. ``live`` says whether it leads to a terminal that can move its cursor.

    ``terminal`` is the path of the terminal on which a launcher draws; ``fd`` is then a pipe to the launcher.
    """

    def __init__(
        self,
        fd: int,
        *,
        live: bool,
        terminal: str | None = None,
        encoding: str = "utf-8",
        monotonic: Callable[[], float] = time.monotonic,
        on_blocked: Callable[[], None] = lambda: None,
        patience_s: float = math.inf,
        canvas: Canvas | None = None,
        replaced: Callable[[], TextIO | None] = lambda: None,
    ) -> None:
        """``on_blocked`` is called while the reader takes nothing; it may raise to give up what is left to write.

        A reader that takes nothing for ``patience_s`` real seconds counts as gone. ``canvas`` formats the frames;
        None: as ``fd`` and ``terminal`` need them. ``replaced`` returns the stream that is written to in the place of
        ``fd``, if there is one.
        """
        self.fd = fd
        self.live = live
        self._reader = SlowReader(fd, monotonic, on_blocked, patience_s)
        self._encoding = encoding
        self._monotonic = monotonic
        self._replaced = replaced
        self._lines: list[str] = []
        self._pieces: list[str] = []
        """Text for a pipe before the lines, which need not end its line."""
        self._pending_chars = 0
        self._live_lines: list[Callable[[int], str]] = []
        self._note = ""
        self._rename: Callable[[str], str] | None = None
        """Gives all text its names; None: as it is."""
        self._canvas = canvas or (LauncherCanvas(terminal) if terminal else TerminalCanvas(fd))
        self._drawn = 0
        self._dirty = False
        self._last_frame_s = -1e9
        self.stream = "stdout"
        """Name of the stream in the truth of hazards."""
        self.outlet: Outlet | RankOutlets | None = None
        """The hazards that lines pass; None: there are none."""
        self._frame_s = FRAME_S

    @property
    def width(self) -> int:
        """Columns of a line: of a pipe 100,000, of a terminal that reports none 80."""
        return self._canvas.line_width() if self.live else UNFOLDED

    @property
    def table_width(self) -> int:
        """Columns that a table may take."""
        width = self.width
        return PIPE_WIDTH if width == UNFOLDED else width

    @property
    def canvas(self) -> Canvas:
        """The canvas that encodes the frames."""
        return self._canvas

    def use(self, canvas: Canvas, frame_s: float) -> None:
        """Encode frames with another canvas, at least ``frame_s`` real seconds apart."""
        self._canvas, self._frame_s = canvas, frame_s

    def rename_by(self, rename: Callable[[str], str]) -> None:
        """Give all text its names from now on."""
        self._rename = rename

    def pass_through(self, outlet: "Outlet | RankOutlets") -> None:
        """Let lines pass hazards from now on."""
        self.outlet = outlet

    # --- What is shown --------------------------------------------------------------------------

    def write(self, lines: Sequence[str]) -> None:
        """Add lines above the live ones."""
        if self._rename:
            lines = list(map(self._rename, lines))
        if self.outlet is not None:
            self.outlet.lines(self.stream, lines)
        else:
            self.append(lines)

    def append(self, lines: Sequence[str]) -> None:
        """Add lines that have passed the hazards."""
        self._lines.extend(lines)
        self._pending_chars += sum(map(len, lines))
        if not self.live and (self._pending_chars > PIPE_BUFFER_BYTES or self._replaced()):
            self.flush()

    def put(self, text: str) -> None:
        """Add text to a pipe, without a newline after it; for bars that are drawn there."""
        if self.outlet is not None:
            self.outlet.put(self.stream, text)
            return
        if self._lines:
            self._pieces.append("\n".join(self._lines) + "\n")
            self._lines = []
        self._pieces.append(self._rename(text) if self._rename else text)
        self._pending_chars += len(text)
        if self._pending_chars > PIPE_BUFFER_BYTES or self._replaced():
            self.flush()

    def beside(self, fd: int) -> "Screen":
        """A screen for another pipe of the same process."""
        screen = Screen(
            fd, live=False, encoding=self._encoding, monotonic=self._monotonic, on_blocked=self._reader.on_blocked,
            patience_s=self._reader.patience_s, replaced=replaced_stderr if self._replaced() else lambda: None,
        )  # fmt: skip
        screen.outlet, screen.stream = self.outlet, "stderr"
        screen._rename = self._rename
        return screen

    def named(self, text: str) -> str:
        """The text with generic names if the screen shows these, for callers that lay it out before they write it."""
        return self._rename(text) if self._rename else text

    def pin(self, render: Callable[[int], str]) -> None:
        """Add a live line; ``render(width)`` gives its text."""
        self._live_lines.append(render)
        self.refresh()

    def unpin(self, render: Callable[[int], str]) -> None:
        """Remove a live line."""
        if render in self._live_lines:
            self._live_lines.remove(render)
            self._dirty = True

    def note(self, text: str) -> None:
        """Show ``text`` at the beginning of the last live line, or on a line of its own; empty: take it away."""
        self._note = text
        self._dirty = True

    def refresh(self) -> None:
        """Mark the live lines as changed; they are drawn when the program next waits."""
        self._dirty = True

    def is_due(self, seconds: float) -> bool:
        """True if the next frame is due within ``seconds`` real seconds."""
        return self._monotonic() + seconds >= self._last_frame_s + self._frame_s

    def rest(self, seconds: float) -> None:
        """Draw if a frame is due: the program is about to wait ``seconds`` real seconds without a change."""
        if self.is_due(seconds):
            self.flush()

    # --- Drawing --------------------------------------------------------------------------------

    def flush(self) -> None:
        """Draw a frame with everything that has changed, or write the lines to a pipe."""
        if self.live and (self._dirty or self._lines):
            self._emit(self._frame())
        elif self._lines or self._pieces:
            text = "".join(self._pieces) + ("\n".join(self._lines) + "\n" if self._lines else "")
            self._lines, self._pieces, self._pending_chars = [], [], 0
            self._emit(text)

    def _frame(self) -> str:
        width, rows = self._canvas.size()
        # A live line never fills the last column: terminals differ in where the cursor is then.
        live = [self.named(row)[: width - 1] for row in self._live(width)][-max(rows - 1, 1) :]
        text = self._canvas.frame(self._lines, live)
        self._lines, self._pending_chars, self._dirty = [], 0, False
        self._drawn = len(live)
        return text

    def _live(self, width: int) -> list[str]:
        if not self._note:
            return [render(width)[: width - 1] for render in self._live_lines]
        note = self._note[: width - 1]
        left = width - len(note) - 1
        last = self._live_lines[-1](left)[: left - 1] if self._live_lines and left > LEAST_BESIDE_NOTE else ""
        return [*(render(width)[: width - 1] for render in self._live_lines[:-1]), f"{note} {last}".rstrip()]

    def redraw(self) -> None:
        """Draw all live lines anew, as after a resize or when the shell has written below."""
        self._canvas.forget()
        self._dirty = True
        self.flush()

    def clear(self) -> None:
        """Take the live lines off the screen; the cursor stays where they began."""
        if self.live:
            self.flush()
            self._emit(self._canvas.cleared())
            self._drawn = 0

    def close(self) -> None:
        """Write what is left, and leave the cursor on a fresh line."""
        self._live_lines.clear()
        self._note = ""
        self._dirty = self._drawn > 0
        self.flush()

    def end(self) -> None:
        """Close the screen for the last time: what is written from now on are lines alone."""
        self.close()
        if self.live and (text := self._canvas.ended()):
            self._emit(text)

    def hurry(self, patience_s: float) -> None:
        """Count the reader as gone once it has taken nothing for ``patience_s`` real seconds; wait for nothing else."""
        self._reader.on_blocked = lambda: None
        self._reader.patience_s = patience_s

    def hang_up(self) -> None:
        """Discard the lines that are not written and raise OutputClosed, since the reader is gone."""
        self._lines, self._pieces, self._pending_chars = [], [], 0
        raise OutputClosed

    def _emit(self, text: str) -> None:
        self._last_frame_s = self._monotonic()
        self.deliver(text)

    def deliver(self, text: str) -> None:
        """Write ``text`` to the descriptor, or to the stream in its place. Raises OutputClosed."""
        if stream := self._replaced():
            stream.write(text)
            stream.flush()
        else:
            self.deliver_bytes(text.encode(self._encoding, "replace"))

    def deliver_bytes(self, text: bytes) -> None:
        """Write bytes to the descriptor. Raises OutputClosed."""
        self._reader.write(text)
