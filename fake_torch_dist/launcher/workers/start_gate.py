"""``StartGate``: holds forked ranks back until the launcher has been told of them.

A rank may start a program within milliseconds. If the agent were killed before it had reported the rank, the launcher
would not know that the program belongs to the job, and would leave it running.
"""

from __future__ import annotations

import os

_CLOSED = -1


class StartGate:
    """A pipe from which each rank of a batch reads one byte before it runs anything."""

    def __init__(self) -> None:
        self.reader = self._writer = _CLOSED

    def shut(self) -> None:
        """Open the pipe. Raises OSError."""
        self.reader, self._writer = os.pipe()

    def open(self, count: int) -> None:
        """Let so many ranks go on, and close the pipe; without ``shut`` nothing happens."""
        if self._writer == _CLOSED:
            return
        os.write(self._writer, bytes(count))
        os.close(self._writer)
        os.close(self.reader)


def wait_and_close(reader: int) -> None:
    """Wait in a rank until the gate opens; if the agent has ended before, end the process."""
    if not os.read(reader, 1):
        os._exit(1)
    os.close(reader)
