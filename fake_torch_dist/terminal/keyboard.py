"""Switches off the terminal's echo of keys, and its flush at Ctrl-C, while lines are drawn; reads single keys.

The echo would show a key at the cursor, and an Enter would push a piece of a bar into the scrollback. The flush at
Ctrl-C or Ctrl-Z would discard output that is on its way to the screen, half a frame for instance. Typed text stays in
the terminal's buffer, for the shell, unless keys are read.
"""

import os

try:
    import termios
except ImportError:  # not a Unix: no keyboard has such flags
    HAS_FLAGS = False
else:
    HAS_FLAGS = True

LOCAL_FLAGS = 3


class Keyboard:
    """The keyboard of the terminal behind ``fd``. Only the foreground process of a terminal changes its flags."""

    def __init__(self, fd: int, *, reads_keys: bool = False) -> None:
        """``reads_keys``: the terminal hands over each key at once, and not whole lines."""
        self.fd = fd
        self._reads_keys = reads_keys
        self._before: int | None = None

    def hush(self) -> bool:
        """Switch echo and flush off. False if this process must not change the terminal or read from it."""
        if not HAS_FLAGS:
            return False
        before = self._change(termios.NOFLSH)
        if self._before is None:
            self._before = before
        return before is not None

    def pressed(self) -> bytes:
        """The keys that wait to be read, as the terminal sends them; empty if there can be no more."""
        try:
            return os.read(self.fd, 64) if os.tcgetpgrp(self.fd) == os.getpgrp() else b""
        except OSError:
            return b""

    def restore(self) -> None:
        """Set the flags to their values before ``hush``."""
        if self._before is not None:
            self._change(self._before)
            self._before = None

    def _change(self, flags: int) -> int | None:
        """Set the flags of echo and flush; return their old values, or None if this process must not change them."""
        try:
            if os.tcgetpgrp(self.fd) != os.getpgrp():
                return None  # a background process would be stopped for trying
            attributes = termios.tcgetattr(self.fd)
            before: int = attributes[LOCAL_FLAGS]
            changed = self._changed()
            attributes[LOCAL_FLAGS] = before & ~changed | flags
            termios.tcsetattr(self.fd, termios.TCSANOW, attributes)
        except (OSError, termios.error):
            return None
        return before & changed

    def unhush(self) -> None:
        """Switch echo and flush on again where a process that was killed has left them off.

        For a process of another session, to which the kernel lets the terminal be. A shell that has set the flags anew
        meanwhile has no flag NOFLSH, and is left alone.
        """
        if not HAS_FLAGS:
            return
        try:
            attributes = termios.tcgetattr(self.fd)
            if attributes[LOCAL_FLAGS] & termios.NOFLSH and not attributes[LOCAL_FLAGS] & termios.ECHO:
                attributes[LOCAL_FLAGS] = attributes[LOCAL_FLAGS] & ~termios.NOFLSH | termios.ECHO | termios.ICANON
                termios.tcsetattr(self.fd, termios.TCSANOW, attributes)
        except (OSError, termios.error):
            pass

    def _changed(self) -> int:
        return termios.ECHO | termios.NOFLSH | (termios.ICANON if self._reads_keys else 0)
