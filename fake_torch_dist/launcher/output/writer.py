"""Writes merged lines to a pipe, terminal, socket or file, without ever waiting for its reader.

A slow reader makes ``blocked`` true, and the launcher reads no more from the ranks until it has caught up. A reader
that is gone makes ``closed`` true. Lines are written whole and in order, but a write of more than PIPE_BUF bytes is not
atomic, so text of another writer of the same pipe may come in between. Therefore standard output and standard error are
one ``Output`` if they are the same file.
"""

import errno
import os
import select
import socket
import stat
import time
from collections import deque
from collections.abc import Callable, Iterable

from fake_torch_dist.terminal.descriptor import without_blocking

IOV_MAX = min(os.sysconf("SC_IOV_MAX"), 1024)
GONE = (errno.EPIPE, errno.EIO, errno.ECONNRESET, errno.ENOTCONN, errno.EBADF, errno.ENXIO)


class Output:
    """Writes to file descriptor ``fd``. ``on_error`` gets one message if a write to a file fails.

    The ``fileno()`` of ``pollable`` outputs is to be watched for EPOLLOUT | EPOLLET until ``release``. Edge-triggered:
    a terminal can be ready for a byte and refuse two, and would be reported for ever.
    """

    def __init__(self, fd: int, *, name: str = "standard output", on_error: Callable[[str], None]) -> None:
        self.closed = False
        """The reader is gone; all that is written is discarded."""
        self.is_terminal = os.isatty(fd)
        self.written_s = 0.0
        """Time of the last write, on the monotonic clock."""
        self._name = name
        self._on_error = on_error
        self._failed = False
        self._pending: deque[bytes | memoryview] = deque()
        self._fd, self._owned = fd, False
        self._socket: socket.socket | None = None
        self._step_bytes: int | None = None
        """Largest write that does not wait, if the descriptor itself is blocking; None if it is not."""
        self.pollable = self._open(fd)

    def _open(self, fd: int) -> bool:
        """Find a way to write without waiting. Returns False for a file, which has no reader to wait for."""
        try:
            mode = os.fstat(fd).st_mode
        except OSError:
            self.closed = True
            return False
        if stat.S_ISSOCK(mode):  # cannot be opened again, but each message can ask not to wait
            self._socket = socket.socket(fileno=os.dup(fd))
            return True
        if not stat.S_ISFIFO(mode) and not os.isatty(fd):
            return False
        self._fd = without_blocking(fd)
        self._owned = self._fd != fd
        self._step_bytes = None if self._owned else select.PIPE_BUF
        return True

    def fileno(self) -> int:
        """Return the descriptor to watch."""
        return self._socket.fileno() if self._socket else self._fd

    @property
    def blocked(self) -> bool:
        """True if something is still to be written."""
        return bool(self._pending)

    def write(self, chunks: Iterable[bytes]) -> None:
        """Write as much as possible now, and keep the rest for ``on_writable``."""
        self.written_s = time.monotonic()
        if self.closed or self._failed:
            return
        waiting = bool(self._pending)
        self._pending.extend(chunk for chunk in chunks if chunk)
        if not waiting:
            self._flush()

    def on_writable(self) -> None:
        """Go on writing: the descriptor is writable, in error or hung up."""
        if self._pending:
            self._flush()
        elif not self.closed and self._events(0) & (select.POLLERR | select.POLLHUP | select.POLLNVAL):
            self._close()

    def release(self) -> None:
        """Close what was opened here; ``fd`` itself stays as it is."""
        if self._socket:
            self._socket.close()
        elif self._owned:
            os.close(self._fd)
        self._socket, self._owned, self.closed = None, False, True

    def _flush(self) -> None:
        try:
            while self._pending:
                self._taken(self._write_some())
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno in GONE and self.pollable:
                self._close()
            else:
                self._fail(error)

    def _write_some(self) -> int:
        """Write once. Returns the bytes written; raises BlockingIOError if none can be now."""
        if self._step_bytes:
            if not self._events(select.POLLOUT) & (select.POLLOUT | select.POLLERR | select.POLLHUP):
                raise BlockingIOError
            return os.write(self._fd, self._pending[0][: self._step_bytes])
        chunks = [chunk for chunk, _ in zip(self._pending, range(IOV_MAX), strict=False)]
        if self._socket:
            return self._socket.sendmsg(chunks, (), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        return os.writev(self._fd, chunks)

    def _taken(self, count: int) -> None:
        while count:
            chunk = self._pending.popleft()
            if count < len(chunk):
                self._pending.appendleft(memoryview(chunk)[count:])
            count -= min(count, len(chunk))

    def _events(self, wanted: int) -> int:
        poll = select.poll()
        poll.register(self.fileno(), wanted)
        return sum(events for _, events in poll.poll(0))

    def _close(self) -> None:
        self.closed = True
        self._pending.clear()

    def _fail(self, error: OSError) -> None:
        self._failed = True
        lost_bytes = sum(map(len, self._pending))
        self._pending.clear()
        self._on_error(
            f"{self._name}: {error.strerror}. {lost_bytes} bytes and all further output to it are lost; the job goes on"
        )


def standard_outputs(on_error: Callable[[str], None], out_fd: int = 1, err_fd: int = 2) -> tuple[Output, Output]:
    """Return standard output and standard error, which are one object if they are the same file."""
    out = Output(out_fd, on_error=on_error)
    if _same_file(out_fd, err_fd):
        return out, out
    return out, Output(err_fd, name="standard error", on_error=on_error)


def _same_file(first_fd: int, second_fd: int) -> bool:
    try:
        first, second = os.fstat(first_fd), os.fstat(second_fd)
    except OSError:
        return False
    return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)
