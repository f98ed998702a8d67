"""The terminal's echo: off while lines are drawn, or a key that is typed would shift or overwrite them.

What is typed stays in the terminal's buffer, for the shell.
"""

import os
from contextlib import suppress

with suppress(ImportError):  # not a Unix: there is no terminal like that
    import termios

LOCAL_FLAGS = 3


class Echo:
    """Echo of the terminal behind ``fd``. Anything but the foreground process of a terminal leaves it alone."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._turned_off = False

    def off(self) -> None:
        if self._set(False):
            self._turned_off = True

    def restore(self) -> None:
        """On again, if it was on before ``off``."""
        if self._turned_off:
            self._set(True)
            self._turned_off = False

    def _set(self, on: bool) -> bool:
        """Whether that changed anything."""
        try:
            if os.tcgetpgrp(self._fd) != os.getpgrp():
                return False  # a background process would be stopped for trying
            attributes = termios.tcgetattr(self._fd)
            if bool(attributes[LOCAL_FLAGS] & termios.ECHO) == on:
                return False
            attributes[LOCAL_FLAGS] ^= termios.ECHO
            termios.tcsetattr(self._fd, termios.TCSANOW, attributes)
        except (OSError, termios.error):
            return False
        return True
