r"""Bytes of one stream, in whatever pieces they arrive, to whole lines with a prefix. Does no I/O.

A line is held back until it is complete, so lines of many streams never mix; what is held can be looked at
(``unfinished``). ``\r\n`` is a newline; any other ``\r`` redraws the line as on a
terminal (see frames.py): only what is visible in the end becomes a line. Colours that a line leaves open are closed at
its end and opened again on the next line of the stream. All else passes untouched, UTF-8 or not, and a last line
without a newline gets one.

Plain text is handled by chunks, not by lines: that is what makes 64 ranks flat out affordable.
"""

import math
import re
import time
from collections.abc import Callable

from fake_torch_dist.launcher.output.bars import LIVE_BLOCK_BEGIN, LIVE_BLOCK_END, BarRows, pieces_of
from fake_torch_dist.terminal.escapes import CURSOR_CODE, OPEN_AT_END, RESET, UNFINISHED, left_open

MAX_LINE_BYTES = 16 << 20
"""A longer line is broken into pieces of this size, each a line of its own: memory has to end somewhere."""
ROW_SEPARATOR = b"\x1f"
_LONE_RETURN = re.compile(rb"\r(?!\n)")
_CUT_CHARACTER = re.compile(rb"(?:[\xc2-\xdf]|[\xe0-\xef][\x80-\xbf]?|[\xf0-\xf4][\x80-\xbf]{0,2})\Z")
"""A UTF-8 character that the next chunk completes."""


class LineMerger:
    """One per stream: ``feed`` what was read, write what it returns.

    ``live``: unfinished frames and live blocks are shown by whoever asks for ``rows``. ``bar_every_s``: a bar leaves
    its newest frame as a line at most so often, when data arrives; it always leaves the last one. ``keep_returns``:
    ``\\r\\n`` of lines that are no frames stays as it is. ``shared``: standard output and error are this one stream.
    ``columns``: of the terminal that it is written to, 0 if it is none; set it when the size changes.
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
        """Ends the data so far: a control sequence or ``\\r`` whose meaning depends on what comes."""
        self._open_colors = b""
        self._frames: BarRows | None = None
        self._bar_due_s = math.inf
        self._block: tuple[bytes, ...] = ()

    @property
    def rows(self) -> tuple[bytes, ...]:
        """What a live stream wants to have at the bottom of the terminal now, without prefix."""
        return (*self._block, *(self._frames.rows if self._frames else ()))

    @property
    def holds_text(self) -> bool:
        """Whether a line may have begun that is no frame of a bar."""
        return bool(self._held or self._frames)

    def unfinished(self) -> bytes:
        """The line that has begun, as the first line that ``feed`` or ``close`` returns next is going to begin; empty
        if there is none, or it is a frame of a bar. It ends between characters.
        """
        text = self._frames.begun if self._frames else self._held
        if not text:
            return b""
        cut = _CUT_CHARACTER.search(text, max(len(text) - 3, 0))
        return b"".join((self._prefix, self._open_colors, text[: cut.start() if cut else None]))

    def feed(self, data: bytes) -> bytes:
        """The lines that ``data`` completed, each with its prefix and newline; may be empty."""
        if self._cut or self._frames or self._open_colors or self._held_codes or b"\x1b" in data or b"\r" in data:
            return self._feed_codes(data)
        if len(self._held) + len(data) > self._max_line_bytes:
            return self._render(self._split(data))
        return self._feed_plain(data)

    def close(self) -> bytes:
        """What the stream left unfinished, as lines of their own."""
        text = self._render(self._lines(self._cut.removesuffix(b"\r")))
        if self._frames:
            text += self._render(self._frames.close())
        elif self._held:
            text += self._render([bytes(self._held)])
        self._frames, self._held, self._cut, self._block = None, bytearray(), b"", ()
        return text

    # --- Plain text: no call per line -----------------------------------------------------------

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

    # --- Colours, bars, very long lines ---------------------------------------------------------

    def _feed_codes(self, data: bytes) -> bytes:
        data = self._cut + data
        cut = UNFINISHED.search(data, max(len(data) - 64, 0))
        start = cut.start() if cut else len(data)
        if data.endswith(b"\r"):
            start = len(data) - 1
        data, self._cut = data[:start], data[start:]
        if self._held_codes and len(self._held) < len(data):  # what it begins may well be closed in data
            data, self._held, self._held_codes = bytes(self._held) + data, bytearray(), False
        if self._closes_colors(data):
            text = self._feed_plain(data)
        else:
            text = self._render(self._lines(data) + self._bar_line())
        self._held_codes = b"\x1b" in self._held
        return text

    def _closes_colors(self, data: bytes) -> bool:
        """Whether all is plain text but for colours that each line closes itself, as a logger's do."""
        return not (
            self._frames
            or self._held_codes
            or self._open_colors
            or self._redraws(data)
            or (self._live and LIVE_BLOCK_BEGIN in data)
            or OPEN_AT_END.search(data)
            or len(self._held) + len(data) > self._max_line_bytes
        )

    def _redraws(self, data: bytes) -> bool:
        if b"\r" in data and (not self._keep_returns or _LONE_RETURN.search(data)):
            return True
        return b"\x1b" in data and CURSOR_CODE.search(data) is not None

    def _lines(self, data: bytes) -> list[bytes]:
        if not self._keep_returns or self._frames:
            data = data.replace(b"\r\n", b"\n")
        if not self._frames and not self._redraws(data):
            lines = self._split(data)
            return self._without_blocks(lines) if self._live else lines
        data = data.replace(b"\r\n", b"\n")
        if not self._frames:
            self._frames = BarRows(
                self._held, live=self._live, shared=self._shared, max_line_bytes=self._max_line_bytes
            )
            self._held = bytearray()
        self._frames.set_columns(self.columns)
        lines = self._frames.feed(data)
        if self._frames.block is not None:
            self._set_block(self._frames.block)
            self._frames.block = None
        rest = self._frames.unfinished
        if rest is not None:
            self._frames, self._held = None, rest
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
        """The newest frame, if it is time for one."""
        if self._live or self._bar_every_s == math.inf:
            return []
        if not self._frames:
            self._bar_due_s = math.inf
        elif self._frames.newest is not None:
            now_s = self._monotonic()
            if now_s >= self._bar_due_s:
                self._bar_due_s = now_s + self._bar_every_s
                return [self._frames.take_newest()]
            self._bar_due_s = min(self._bar_due_s, now_s + self._bar_every_s)
        return []

    def _render(self, lines: list[bytes]) -> bytes:
        if not lines:
            return b""
        if self._open_colors or any(b"\x1b" in line for line in lines):
            lines = [self._closed(line) for line in lines]
        return b"".join((self._prefix, self._newline_and_prefix.join(lines), b"\n"))

    def _closed(self, line: bytes) -> bytes:
        """The line with the colours that the one before left open, and its own closed."""
        if not line:
            return line
        before = self._open_colors
        self._open_colors = left_open(line, before)
        return b"".join((before, line, RESET if self._open_colors else b""))

    def _without_blocks(self, lines: list[bytes]) -> list[bytes]:
        """Lines without the updates of the live block. Text before an update belongs to the line that follows."""
        kept, begun = [], b""
        for line in lines:
            text, begin, block = line.partition(LIVE_BLOCK_BEGIN)
            if begin and block.endswith(LIVE_BLOCK_END):
                self._set_block(block.removesuffix(LIVE_BLOCK_END))
                begun += text
            else:
                kept.append(begun + line)
                begun = b""
        self._held[:0] = begun
        return kept

    def _set_block(self, rows: bytes) -> None:
        self._block = tuple(rows.split(ROW_SEPARATOR)) if rows else ()
