"""What the terminal does by itself when keys are pressed, and must not do while lines are drawn.

It would show a key where the cursor is, and an Enter would push a piece of a bar into the scrollback. At Ctrl-C or
Ctrl-Z it would throw away what is on its way to the screen: half a frame. What is typed stays in the terminal's buffer,
for the shell.
"""

import os
from contextlib import suppress

with suppress(ImportError):  # not a Unix: there is no terminal like that
    import termios

LOCAL_FLAGS = 3


class Keyboard:
    """The keys of the terminal behind ``fd``. Anything but the foreground process of a terminal leaves them alone."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._before: int | None = None

    def hush(self) -> None:
        """No echo, no flush."""
        before = self._change(termios.NOFLSH)
        if self._before is None:
            self._before = before

    def restore(self) -> None:
        """As it was before ``hush``."""
        if self._before is not None:
            self._change(self._before)
            self._before = None

    def _change(self, flags: int) -> int | None:
        """Set the flags of echo and flush; returns what they were, or None if they are not ours to change."""
        try:
            if os.tcgetpgrp(self._fd) != os.getpgrp():
                return None  # a background process would be stopped for trying
            attributes = termios.tcgetattr(self._fd)
            before: int = attributes[LOCAL_FLAGS]
            attributes[LOCAL_FLAGS] = before & ~(termios.ECHO | termios.NOFLSH) | flags
            termios.tcsetattr(self._fd, termios.TCSANOW, attributes)
        except (OSError, termios.error):
            return None
        return before & (termios.ECHO | termios.NOFLSH)
