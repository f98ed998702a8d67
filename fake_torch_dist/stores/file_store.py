"""``FileStore``: a store in a file that all processes can reach.

What it does not do: queues (nor does torch's).
"""

from __future__ import annotations

import os
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Final

from fake_torch_dist.errors import DistStoreError
from fake_torch_dist.launcher.environment_names import TOKEN
from fake_torch_dist.stores.authentication import job_token
from fake_torch_dist.stores.base import NO_QUEUES
from fake_torch_dist.stores.connected_user import is_own
from fake_torch_dist.stores.key_table import CHANGES, Table
from fake_torch_dist.stores.keys_and_values import Text, as_bytes, wrong_argument
from fake_torch_dist.stores.lock import Mutex
from fake_torch_dist.stores.message_store import WAIT_TIMEOUT, MessageStore
from fake_torch_dist.stores.messages import HEAD, Kind, Message, decode, encode
from fake_torch_dist.stores.timeouts import deadline_after, milliseconds
from fake_torch_dist.terminal.descriptor import write_all

GET_TIMEOUT = "Timeout waiting for key: {keys} after {ms} ms"  # of get; a RuntimeError in torch 2.13.0
FOREIGN_FILE = (  # PermissionError
    "{path} {reason}, who could then act as any process of the job. Name a file in a directory of your own, or "
    f"set {TOKEN} to the same secret for all of them"
)

_MAGIC: Final = b"fake_torch_dist FileStore 1\n"
_RECORD: Final = struct.Struct("!II")
"""Length and CRC-32 of the message that follows."""
_REFERENCES: Final = b"refcount/"
_CLEANUPS: Final = b"cleanup/"


class FileStore(MessageStore):
    """A log of changes in a file that all processes can reach; all read it and arrive at the same table.

    ``world_size`` users: the last one to close it removes the file. -1: the file stays. A user that ends in the middle
    of a record leaves an incomplete one, which the next change overwrites. A file that outlived its job is read as it
    is, so use a new one for a new job. A process that waits looks at the file's size, at first after 1 ms, later every
    20 ms, as no event reports a change; other threads may use the store meanwhile. Over NFS it depends on its
    ``flock``. Errors: OSError if the file cannot be opened, or is another user's and there is no token; ValueError if
    it is something else.
    """

    _KEY_PREFIX = b"/"

    def __init__(self, file_name: str, world_size: int = -1) -> None:
        self._path = os.path.abspath(as_bytes("__init__", "file_name", file_name).decode("utf-8", "surrogateescape"))
        if not hasattr(world_size, "__index__"):
            wrong_argument("__init__", "world_size", world_size, "int")
        self._world_size = world_size
        import fcntl  # not on every platform

        self._fcntl = fcntl  # an interpreter that ends may close the store when nothing can be imported any more
        self._fd = -1
        self._refers = False
        self._mutex = Mutex()
        self._open(refer=True)

    @property
    def path(self) -> str:
        """The file."""
        return self._path

    def queue_push(self, key: Text, value: Text) -> None:
        raise NotImplementedError(NO_QUEUES)

    def queue_pop(self, key: Text, block: bool = True) -> bytes:
        raise NotImplementedError(NO_QUEUES)

    def queue_len(self, key: Text) -> int:
        raise NotImplementedError(NO_QUEUES)

    def has_extended_api(self) -> bool:
        return False

    def clone(self) -> FileStore:
        return FileStore(self._path, self._world_size)

    def close(self) -> None:
        """Ours: close the file, as the end of the object does."""
        fd = self._fd
        if fd < 0:
            return
        if self._refers and self._pid == os.getpid():
            self._refers = False
            with self._mutex, self._locked(exclusive=True):
                self._catch_up()
                cleanups = self._change(Message(Kind.ADD, 1, (_CLEANUPS,)))
                references = self._change(Message(Kind.ADD, -1, (_REFERENCES,)))
                if references == 0 and cleanups >= self._world_size >= 0:
                    with suppress(FileNotFoundError):
                        os.unlink(self._path)
        self._fd = -1
        os.close(fd)

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            with suppress(OSError, ValueError):
                self.close()

    def _open(self, *, refer: bool) -> None:
        """Open the file that has the name now; a process that removes it holds its lock. ``refer``: count as a user."""
        while True:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._fd, self._at, self._table, self._pid = fd, 0, Table(), os.getpid()
            try:
                self._refuse_foreign()
                with self._locked(exclusive=True):
                    there = os.fstat(fd).st_nlink > 0
                    if there:
                        self._start()
                        self._catch_up()
                    if there and refer:
                        self._change(Message(Kind.ADD, 1, (_REFERENCES,)))
                        self._refers = True
            except BaseException:
                self._fd = -1
                os.close(fd)
                raise
            if there:
                return
            os.close(fd)

    def _refuse_foreign(self) -> None:
        """PermissionError, in a job without a token, for a file that another user owns or may write to."""
        if job_token():
            return
        status = os.fstat(self._fd)
        if not is_own(status.st_uid):
            raise PermissionError(FOREIGN_FILE.format(path=self._path, reason=f"belongs to user {status.st_uid}"))
        if status.st_mode & 0o022:
            reason = f"is open to other users (mode {status.st_mode & 0o777:o})"
            raise PermissionError(FOREIGN_FILE.format(path=self._path, reason=reason))

    def _start(self) -> None:
        head = os.pread(self._fd, len(_MAGIC), 0)
        if not _MAGIC.startswith(head):
            raise ValueError(f"{self._path} is not the file of a FileStore; it stays as it is")
        if head != _MAGIC:
            os.ftruncate(self._fd, 0)
            write_all(self._fd, _MAGIC, 0)
        self._at = len(_MAGIC)

    @contextmanager
    def _locked(self, *, exclusive: bool) -> Iterator[None]:
        self._fcntl.flock(self._fd, self._fcntl.LOCK_EX if exclusive else self._fcntl.LOCK_SH)
        try:
            yield
        finally:
            self._fcntl.flock(self._fd, self._fcntl.LOCK_UN)

    def _call(self, message: Message, timeout: timedelta) -> Message | None:
        """As MessageStore's. Other threads may use the store while this one waits for the file to grow."""
        deadline = deadline_after(timeout)
        pause_s = 0.001
        seen = -1
        while True:
            with self._mutex:
                answer, at = self._try(message), self._at
            if answer is not None:
                return answer
            pause_s = 0.001 if at > seen else min(1.5 * pause_s, 0.02)
            seen = at
            while self._at == at and os.fstat(self._fd).st_size == at:
                if deadline is not None and time.monotonic() >= deadline:
                    return None
                time.sleep(pause_s)
                pause_s = min(1.5 * pause_s, 0.02)
            if deadline is not None and time.monotonic() >= deadline:
                return None

    def _try(self, message: Message) -> Message | None:
        """Read new records and answer ``message`` if that is possible now; a change is written to the file."""
        if self._pid != os.getpid():  # a forked child: parent and child must not share one lock
            os.close(self._fd)
            self._refers = False
            self._open(refer=False)
        with self._locked(exclusive=message.kind in CHANGES):
            self._catch_up()
            answer = self._table.answer(message)
            if message.kind in CHANGES and answer is not None and answer.kind == Kind.DONE:
                self._write_record(message)
        return answer

    def _catch_up(self) -> None:
        """Read new records. The lock is held, so an incomplete record at the end is that of a killed writer."""
        data = memoryview(_read(self._fd, self._at, os.fstat(self._fd).st_size))
        at = 0
        while at + _RECORD.size <= len(data):
            length, checksum = _RECORD.unpack_from(data, at)
            body = data[at + _RECORD.size : at + _RECORD.size + length]
            if len(body) < max(length, HEAD.size) or zlib.crc32(body) != checksum:
                break
            self._table.answer(decode(body))
            at += _RECORD.size + length
        self._at += at

    def _change(self, message: Message) -> int:
        """Apply ``message`` and write it to the file; the caller holds the lock and has caught up."""
        answer = self._table.answer(message)
        assert answer is not None and answer.kind == Kind.DONE
        self._write_record(message)
        return answer.number

    def _write_record(self, message: Message) -> None:
        body = encode(message)
        os.ftruncate(self._fd, self._at)
        write_all(self._fd, _RECORD.pack(len(body), zlib.crc32(body)) + body, self._at)
        self._at += _RECORD.size + len(body)

    def _timed_out(self, message: Message, timeout: timedelta) -> DistStoreError:
        names = ", ".join(key[1:].decode("utf-8", "surrogateescape") for key in message.fields)
        text = GET_TIMEOUT if message.kind == Kind.GET else WAIT_TIMEOUT
        return DistStoreError(text.format(ms=milliseconds(timeout), keys=names))


def _read(fd: int, start: int, end: int) -> bytes:
    parts = []
    while start < end and (part := os.pread(fd, min(end - start, 1 << 24), start)):
        parts.append(part)
        start += len(part)
    return b"".join(parts)
