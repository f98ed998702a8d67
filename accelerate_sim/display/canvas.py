"""Encodes a frame, that is lines that scroll and live lines below them, for a terminal or for the launcher that draws.

What this module does not do: decide when a frame is drawn, or write it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from fake_torch_dist.launcher.environment_names import PREFIX_COLUMNS
from fake_torch_dist.terminal.descriptor import count_in_environment, size_of
from fake_torch_dist.terminal.frame import CLEARED, drawn, erased_after
from fake_torch_dist.terminal.live_protocol import live_block


class Canvas(Protocol):
    """Encodes frames as text."""

    def size(self) -> tuple[int, int]:
        """Columns and rows of the terminal."""
        ...

    def line_width(self) -> int:
        """Columns of a line."""
        ...

    def frame(self, lines: Sequence[str], live: Sequence[str]) -> str:
        """The text that adds ``lines`` and replaces the live lines by ``live``."""
        ...

    def cleared(self) -> str:
        """The text that removes the live lines."""
        ...

    def forget(self) -> None:
        """Assume nothing about the terminal: its size and its content may have changed."""
        ...

    def ended(self) -> str:
        """The text after the last frame."""
        ...


class TerminalCanvas:
    """Encodes frames with escape codes, for the terminal behind a descriptor.

    The cursor stays at the beginning of the first live line. So the next frame starts in the right place and overwrites
    the lines below, whatever a resize or a shell has done to them.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._drawn_size = (0, 0)

    def size(self) -> tuple[int, int]:
        return size_of(self._fd)

    def line_width(self) -> int:
        return self.size()[0]

    def frame(self, lines: Sequence[str], live: Sequence[str]) -> str:
        size = self.size()
        over = erased_after([_encoded(line) for line in lines])
        frame = drawn(over, [_encoded(row) for row in live], erase_first=size != self._drawn_size)
        self._drawn_size = size
        return frame.decode("utf-8", "surrogatepass")

    def cleared(self) -> str:
        return CLEARED.decode()

    def forget(self) -> None:
        self._drawn_size = (0, 0)

    def ended(self) -> str:
        return ""


class LauncherCanvas:
    """Encodes frames for a launcher that draws on the terminal at ``path``: plain lines, and live rows as one block."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._known_size: tuple[int, int] | None = None
        self._drawn: tuple[str, ...] | None = None

    def size(self) -> tuple[int, int]:
        # The size is read once per resize: the launcher forwards SIGWINCH.
        if self._known_size is None:
            fd = -1
            with suppress(OSError):
                fd = os.open(self._path, os.O_RDWR | os.O_NOCTTY)
            self._known_size = size_of(fd)
            if fd >= 0:
                os.close(fd)
        return self._known_size

    def line_width(self) -> int:
        return max(1, self.size()[0] - count_in_environment(PREFIX_COLUMNS))

    def frame(self, lines: Sequence[str], live: Sequence[str]) -> str:
        rows, text = tuple(live), "".join(f"{line}\n" for line in lines)
        if rows == self._drawn:
            return text
        self._drawn = rows
        return text + live_block(rows)

    def cleared(self) -> str:
        return self.frame((), ())

    def forget(self) -> None:
        self._known_size = self._drawn = None

    def ended(self) -> str:
        return ""


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
