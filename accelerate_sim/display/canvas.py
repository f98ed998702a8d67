"""How a frame, lines that scroll and live lines below them, is said: to a terminal, or to the launcher that has it.

What this module does not do: decide when, or write.
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
    """Makes text of frames."""

    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        ...

    def line_width(self) -> int:
        """Columns that a line has."""
        ...

    def frame(self, lines: Sequence[str], live: Sequence[str]) -> str:
        """``lines`` above, and ``live`` in the place of the live lines that there were."""
        ...

    def cleared(self) -> str:
        """No live lines."""
        ...

    def forget(self) -> None:
        """The terminal may have another size, and hold anything."""
        ...


class TerminalCanvas:
    """The terminal behind a descriptor, by escape codes.

    The cursor rests at the beginning of the first live line, so whatever a resize or a shell does to the lines below,
    the next frame starts in the right place and overwrites them.
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


class LauncherCanvas:
    """The terminal at ``path``, on which a launcher draws: lines go to it plainly, live rows as one block."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._known_size: tuple[int, int] | None = None
        self._drawn: tuple[str, ...] | None = None

    def size(self) -> tuple[int, int]:
        # Read once: the launcher passes SIGWINCH on.
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


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
