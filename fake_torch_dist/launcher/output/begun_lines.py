"""Shows lines before they are complete, on an output that cannot take anything back. Computes bytes.

A prompt, or the dots of a heartbeat, is text without a newline. It is written once, unchanged, and continued in place.
If another stream writes in between, it is ended there, and its rest begins a line with ``...``.
"""

from __future__ import annotations

from collections.abc import Hashable

from fake_torch_dist.terminal.escapes import RESET, left_open

CONTINUED = b"... "
"""Text before the rest of a line that was interrupted."""


class BegunLines:
    """Unfinished lines of one output. Keys are the streams that write to it; None is the launcher itself."""

    def __init__(self) -> None:
        self.last: Hashable | None = None
        """Stream whose unfinished line the output ends with; None if it ends with a newline."""
        self._written: dict[Hashable, tuple[bytes, bytes]] = {}
        """Written part and prefix of each unfinished line."""

    def begin(self, key: Hashable, unfinished: bytes, prefix: bytes) -> bytes:
        """Return what to write so that ``unfinished``, with its prefix, is shown."""
        text = self._next(key, unfinished, prefix)
        if unfinished:
            self._written[key] = unfinished, prefix
            self.last = key
        return text

    def complete(self, key: Hashable | None, lines: bytes) -> bytes:
        """Return what to write for whole lines of a stream, the first of which may have begun."""
        if not lines or (self.last is None and not self._written):
            return lines
        text = self._next(key, lines, b"")
        self._written.pop(key, None)
        if text:
            self.last = None
        return text

    def _next(self, key: Hashable | None, text: bytes, prefix: bytes) -> bytes:
        written, prefix = self._written.get(key, (b"", prefix))
        if not text.startswith(written):  # a carriage return has replaced the line
            return self._end() + text
        rest = text[len(written) :]
        if not rest or key == self.last:
            return rest
        if not written:
            return self._end() + text
        if rest == b"\n":  # the line was ended when it was interrupted
            return b""
        return b"".join((self._end(), prefix, CONTINUED, left_open(written), rest))

    def _end(self) -> bytes:
        """Return the end of the line that the output ends with, with its colours closed."""
        if self.last is None:
            return b""
        written, _ = self._written[self.last]
        return (RESET if left_open(written) else b"") + b"\n"
