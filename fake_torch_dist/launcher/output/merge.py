r"""Makes whole lines with a prefix of the bytes of one stream, which arrive in any pieces. Does no I/O.

A line is held back until it is complete, so lines of many streams never mix; ``unfinished`` returns what is held.
``\r\n`` is a newline; any other ``\r`` redraws the line as on a terminal (``bars``): only what is visible in the end
becomes a line. Colours that a line leaves open are closed at its end and opened again on the next line of the stream.
All else passes unchanged, UTF-8 or not, and a last line without a newline gets one.

Plain text is handled by chunks, not by lines, which makes 64 ranks at full speed affordable.
"""

import math
import re
import time
from collections.abc import Callable

from fake_torch_dist.launcher.output.bars import BarRows
from fake_torch_dist.launcher.output.row import pieces_of
from fake_torch_dist.terminal.escapes import CURSOR_CODE, OPEN_AT_END, RESET, UNFINISHED, left_open
from fake_torch_dist.terminal.live_protocol import BEGIN as BEGIN_UPDATE
from fake_torch_dist.terminal.live_protocol import split_update

MAX_LINE_BYTES = 16 << 20
"""Size of pieces, each a line of its own, into which a longer line is broken, since memory is limited."""
_LONE_RETURN = re.compile(rb"\r(?!\n)")
_CUT_CHARACTER = re.compile(rb"(?:[\xc2-\xdf]|[\xe0-\xef][\x80-\xbf]?|[\xf0-\xf4][\x80-\xbf]{0,2})\Z")
"""Matches a UTF-8 character that the next chunk completes."""


class LineMerger:
    """Merges one stream: takes what was read (``feed``) and returns what to write.

    ``live``: unfinished frames and live rows are shown by the user of ``rows``. ``bar_every_s``: shortest interval at
    which a bar leaves its newest frame as a line when data arrives; the last frame is always left. ``keep_returns``:
    ``\\r\\n`` of lines that are no frames stays as it is. ``shared``: standard output and error are this one stream.
    ``columns``: width of the terminal that the stream is written to, 0 if it is none; set it when the size changes.
    """

    def __init__(
        self,
        prefix: bytes = b"",
        *,
        live: bool = False,
        bar_every_s: float = math.inf,
        keep_returns: bool = False,
        shared: bool = False,
        columns: int = 0,
        max_line_bytes: int = MAX_LINE_BYTES,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._prefix = prefix
        self._newline_and_prefix = b"\n" + prefix
        self._live = live
        self._keep_returns = keep_returns
        self._shared = shared
        self.columns = columns
        self._bar_every_s = bar_every_s
        self._max_line_bytes = max_line_bytes
        self._monotonic = monotonic
        self._held = bytearray()
        self._held_codes = False
        self._cut = b""
        """End of the data so far: a control sequence or ``\\r`` whose meaning depends on the next data."""
        self._open_colors = b""
        self._bar_rows: BarRows | None = None
        self._bar_due_s = math.inf
        self._block: tuple[bytes, ...] = ()

    @property
    def rows(self) -> tuple[bytes, ...]:
        """Rows, without prefix, that a live stream shows at the bottom of the terminal now."""
        return (*self._block, *(self._bar_rows.rows if self._bar_rows else ()))

    @property
    def holds_text(self) -> bool:
        """True if a line may have begun that is no frame of a bar."""
        return bool(self._held or self._bar_rows)

    def unfinished(self) -> bytes:
        """Return the line that has begun, up to the last whole character; empty if there is none.

        The next line that ``feed`` or ``close`` returns begins with it. A frame of a bar is no such line.
        """
        text = self._bar_rows.begun if self._bar_rows else self._held
        if not text:
            return b""
        cut = _CUT_CHARACTER.search(text, max(len(text) - 3, 0))
        return b"".join((self._prefix, self._open_colors, text[: cut.start() if cut else None]))

    def feed(self, data: bytes) -> bytes:
        """Return the lines that ``data`` completed, each with its prefix and newline; may be empty."""
        if self._cut or self._bar_rows or self._open_colors or self._held_codes or b"\x1b" in data or b"\r" in data:
            return self._feed_codes(data)
        if len(self._held) + len(data) > self._max_line_bytes:
            return self._render(self._split(data))
        return self._feed_plain(data)

    def close(self) -> bytes:
        """Return what the stream left unfinished, as lines of their own."""
        text = self._render(self._lines(self._cut.removesuffix(b"\r")))
        if self._bar_rows:
            text += self._render(self._bar_rows.close())
        elif self._held:
            text += self._render([bytes(self._held)])
        self._bar_rows, self._held, self._cut, self._block = None, bytearray(), b"", ()
        return text

    # -- plain text: no call per line ---------------------------------------------------------------------------------

    def _feed_plain(self, data: bytes) -> bytes:
        prefixed = data.replace(b"\n", self._newline_and_prefix) if self._prefix else data
        end = prefixed.rfind(b"\n") + 1
        if not end:
            self._held += data
            return b""
        held, self._held = self._held, bytearray(memoryview(prefixed)[end + len(self._prefix) :])
        if self._prefix or held:
            return b"".join((self._prefix, held, memoryview(prefixed)[:end]))
        return prefixed[:end]

    # -- colours, bars, very long lines -------------------------------------------------------------------------------

    def _feed_codes(self, data: bytes) -> bytes:
        data = self._cut + data
        cut = UNFINISHED.search(data, max(len(data) - 64, 0))
        start = cut.start() if cut else len(data)
        if data.endswith(b"\r"):
            start = len(data) - 1
        data, self._cut = data[:start], data[start:]
        if self._held_codes and len(self._held) < len(data):  # data often closes what the held text opens
            data, self._held, self._held_codes = bytes(self._held) + data, bytearray(), False
        if self._closes_colors(data):
            text = self._feed_plain(data)
        else:
            text = self._render(self._lines(data) + self._bar_line())
        self._held_codes = b"\x1b" in self._held
        return text

    def _closes_colors(self, data: bytes) -> bool:
        """Return whether all is plain text except for colours that each line closes itself, as a logger's do."""
        return not (
            self._bar_rows
            or self._held_codes
            or self._open_colors
            or self._redraws(data)
            or (self._live and BEGIN_UPDATE in data)
            or OPEN_AT_END.search(data)
            or len(self._held) + len(data) > self._max_line_bytes
        )

    def _redraws(self, data: bytes) -> bool:
        if b"\r" in data and (not self._keep_returns or _LONE_RETURN.search(data)):
            return True
        return b"\x1b" in data and CURSOR_CODE.search(data) is not None

    def _lines(self, data: bytes) -> list[bytes]:
        if not self._keep_returns or self._bar_rows:
            data = data.replace(b"\r\n", b"\n")
        if not self._bar_rows and not self._redraws(data):
            lines = self._split(data)
            return self._without_blocks(lines) if self._live else lines
        data = data.replace(b"\r\n", b"\n")
        if not self._bar_rows:
            self._bar_rows = BarRows(
                self._held, live=self._live, shared=self._shared, max_line_bytes=self._max_line_bytes
            )
            self._held = bytearray()
        self._bar_rows.set_columns(self.columns)
        lines = self._bar_rows.feed(data)
        if self._bar_rows.update is not None:
            self._block, self._bar_rows.update = self._bar_rows.update, None
        rest = self._bar_rows.unfinished
        if rest is not None:
            self._bar_rows, self._held = None, rest
        return lines

    def _split(self, data: bytes) -> list[bytes]:
        first, newline, others = data.partition(b"\n")
        self._held += first
        lines = []
        if newline:
            lines = [bytes(self._held), *others.split(b"\n")]
            self._held = bytearray(lines.pop())
        if max(map(len, lines), default=0) > self._max_line_bytes:
            lines = [piece for line in lines for piece in pieces_of(line, self._max_line_bytes)]
        if len(self._held) > self._max_line_bytes:
            *pieces, rest = pieces_of(bytes(self._held), self._max_line_bytes)
            lines += pieces
            self._held = bytearray(rest)
        return lines

    def _bar_line(self) -> list[bytes]:
        """Return the newest frame, if one is due."""
        if self._live or self._bar_every_s == math.inf:
            return []
        if not self._bar_rows:
            self._bar_due_s = math.inf
        elif self._bar_rows.newest is not None:
            now_s = self._monotonic()
            if now_s >= self._bar_due_s:
                self._bar_due_s = now_s + self._bar_every_s
                return [self._bar_rows.take_newest()]
            self._bar_due_s = min(self._bar_due_s, now_s + self._bar_every_s)
        return []

    def _render(self, lines: list[bytes]) -> bytes:
        if not lines:
            return b""
        if self._open_colors or any(0x1B in line for line in lines):
            lines = self._closed(lines)
        return b"".join((self._prefix, self._newline_and_prefix.join(lines), b"\n"))

    def _closed(self, lines: list[bytes]) -> list[bytes]:
        """Return the lines, each with the colours that those before left open, and its own closed."""
        closed, still = [], self._open_colors
        for line in lines:
            if line:
                before, still = still, left_open(line, still)
                line = before + line + RESET if still else before + line
            closed.append(line)
        self._open_colors = still
        return closed

    def _without_blocks(self, lines: list[bytes]) -> list[bytes]:
        """Return lines without updates of the live rows. Text before an update belongs to the line that follows."""
        kept, begun = [], b""
        for line in lines:
            if update := split_update(line):
                begun += update[0]
                self._block = update[1]
            else:
                kept.append(begun + line)
                begun = b""
        self._held[:0] = begun
        return kept
