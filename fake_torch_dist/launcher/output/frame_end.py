"""Finds the end of a progress bar's frame on a row where other text follows it without a newline.

The end of a tqdm frame is known by its form, and that of a frame which fills the terminal by its width. After any other
frame the text counts as part of the frame, as it looks on a terminal.
"""

import re

from fake_torch_dist.terminal.escapes import divided, width_of

_TQDM_METER = re.compile(rb"\[(?:\d+:)?\d\d:\d\d(?:<[^\],\n]*)?,[^\]\n]*\]+")
"""Matches the last part of a tqdm bar: time, rate and postfix."""


class FrameEnd:
    """Divides rows of one stream into a frame and the text after it."""

    def __init__(self) -> None:
        self.last_frame = b""
        """Newest frame that is known to be complete."""
        self._widths: set[int] = set()
        """Widths of frames that fill the terminal, at all sizes that it has had."""

    def add_width(self, columns: int) -> None:
        """Note a width of the terminal; 0 if there is none."""
        if columns:
            self._widths |= {columns, columns - 1}  # bars take either for the whole width

    def divide(self, row: bytes) -> tuple[bytes, bytes]:
        """Return the frame and the text; the text is empty if no end of a frame is found."""
        frame, text = self._divided(row)
        if self.last_frame and text.startswith(b" "):  # a bar blanks the rest of the longer frame before it
            blank = max(width_of(self.last_frame) - width_of(frame), 0)
            text = text[min(blank, len(text) - len(text.lstrip(b" "))) :]
        return frame, text

    def _divided(self, row: bytes) -> tuple[bytes, bytes]:
        last = self.last_frame
        meter = _TQDM_METER.search(row)
        if meter and (not last or _ends_with_meter(last)):
            return row[: meter.end()], row[meter.end() :]
        if last and self._widths and (width := width_of(last)) in self._widths:
            return divided(row, width)
        return row, b""


def _ends_with_meter(frame: bytes) -> bool:
    found = _TQDM_METER.search(frame)
    return found is not None and not frame[found.end() :].strip()
