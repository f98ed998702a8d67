"""``TCPStore``: a store in another process, reached over a socket.

torch's arguments, texts and key names ("/" before users' keys, "init/" to count clients). ``is_master`` starts the
server as a process of its own, which runs as long as it has users.

What it does not do: torch's wire protocol (torch cannot be the other end), libuv (``use_libuv`` is accepted; there is
one implementation).
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from fake_torch_dist.errors import DistStoreError
from fake_torch_dist.stores.authentication import job_token
from fake_torch_dist.stores.connection import Connection
from fake_torch_dist.stores.gatherings import Gathered, packed_ranks
from fake_torch_dist.stores.keys_and_values import as_flag, wrong_argument
from fake_torch_dist.stores.lock import Mutex
from fake_torch_dist.stores.message_store import MessageStore
from fake_torch_dist.stores.messages import Kind, Message
from fake_torch_dist.stores.server_process import ForkedServer, fork_server
from fake_torch_dist.stores.timeouts import as_timeout, default_store_timeout, milliseconds

# torch 2.13.0
WAIT_TIMEOUT = "wait timeout after {ms}ms, keys: {keys}"  # DistStoreError
CLIENTS_TIMEOUT = "Timed out after {s} seconds waiting for clients. {joined}/{size} clients joined."  # DistStoreError
EMPTY_WORLD = "TCPStore world size cannot be 0"  # ValueError

_INIT_KEY: Final = b"init/"


class TCPStore(MessageStore):
    """A store that several processes share. One of them, the master, starts its server.

    ``timeout`` limits connecting, waiting for ``world_size`` clients (the master waits for them, itself included,
    unless ``wait_for_workers`` is False) and later each operation. Port 0 lets the master pick one, see ``port``.
    ``multi_tenant``: a second master of this process with the same address uses the server that is there.
    Errors: DistNetworkError (address in use, no server, wrong token), DistStoreError (clients missing).
    A ``get`` that waits makes other threads wait, too, so use ``clone()`` in a thread. A forked child
    connects anew with its first call.
    """

    _KEY_PREFIX = b"/"

    def __init__(
        self,
        host_name: str,
        port: int,
        world_size: int | None = None,
        is_master: bool = False,
        timeout: timedelta = default_store_timeout,
        wait_for_workers: bool = True,
        multi_tenant: bool = False,
        master_listen_fd: int | None = None,
        use_libuv: bool = True,
    ) -> None:
        if not isinstance(host_name, str):
            wrong_argument("__init__", "host_name", host_name, "str")
        if not isinstance(port, int) or not 0 <= port < 2**16:
            wrong_argument("__init__", "port", port, "an int from 0 to 65535")
        if not isinstance(world_size, int | None):
            wrong_argument("__init__", "world_size", world_size, "an int or None")
        is_master = as_flag("__init__", "is_master", is_master)
        wait_for_workers = as_flag("__init__", "wait_for_workers", wait_for_workers)
        multi_tenant = as_flag("__init__", "multi_tenant", multi_tenant)
        self._timeout = as_timeout("__init__", timeout)
        if world_size == 0:
            raise ValueError(EMPTY_WORLD)
        self._host = host_name
        self._server = _server(host_name, port, multi_tenant, master_listen_fd) if is_master else None
        self._port = self._server.port if self._server else port
        self._token = job_token()
        self._mutex = Mutex()
        self._connect()
        if wait_for_workers and world_size is not None:
            self._ask(Kind.ADD, 1, (_INIT_KEY,))
            if is_master:
                self._wait_for_clients(world_size)

    @property
    def host(self) -> str:
        """``host_name`` as it was given."""
        return self._host

    @property
    def port(self) -> int:
        """The port of the server."""
        return self._port

    @property
    def is_master(self) -> bool:
        """Ours: whether this store, or the one that it is a clone of, holds the server."""
        return self._server is not None

    @property
    def libuvBackend(self) -> bool:
        """False: there is no libuv here."""
        return False

    def gather(self, key: bytes, rank: int, size: int, value: bytes, host: bytes, timeout: timedelta) -> Gathered:
        """Ours: leave ``value`` under ``key`` and, once all of ``size`` ranks have, get this rank's part.

        ``host`` is the same text for all ranks of a host. DistStoreError if ``timeout`` runs out (the value stays),
        ValueError if another rank has another ``size``.
        """
        fields = (self._KEY_PREFIX + key, b"%d" % size, value, host)
        return Gathered.parse(self._ask(Kind.GATHER, rank, fields, timeout))

    def gathered(self, key: bytes, number: int, ranks: Sequence[int], timeout: timedelta) -> Sequence[bytes]:
        """Ours: the values of some ranks in the gathering ``number``, in that order.

        While another call waits, in another thread or in a frame that a signal handler has interrupted, this one has a
        connection of its own. DistStoreError if a later gathering under ``key`` is complete, or after ``timeout``.
        """
        message = Message(Kind.GATHERED, number, (self._KEY_PREFIX + key, packed_ranks(ranks)))
        if self._mutex.take_if_free():
            try:
                answer = self._connection.call(message, timeout)
            finally:
                self._mutex.__exit__()
        else:
            answer = self._call_apart(message, timeout)
        if answer is None:
            raise self._timed_out(Message(Kind.GATHERED, 0, (key,)), timeout)
        if answer.kind != Kind.DONE:
            raise DistStoreError(answer.fields[0].decode())
        return answer.fields

    def gather_counts(self, key: bytes) -> dict[int, int]:
        """Ours: how often each rank has joined the gathering under ``key`` that is not complete."""
        answer = self._ask(Kind.GATHER_COUNTS, 0, (self._KEY_PREFIX + key,))
        return {int(rank): int(count) for rank, count in (field.split() for field in answer.fields)}

    def clone(self) -> TCPStore:
        made = TCPStore(self._host, self._port, timeout=self._timeout, wait_for_workers=False)
        made._server = self._server
        return made

    def close(self) -> None:
        """Ours: close the connection, and the end of the server if this store started it."""
        self._connection.close()
        self._server = None

    def __del__(self) -> None:
        if hasattr(self, "_connection"):
            self.close()

    def __repr__(self) -> str:
        return f"TCPStore({self._host!r}, {self._port}, is_master={self.is_master})"

    def _connect(self) -> None:
        self._pid = os.getpid()
        self._connection = Connection(self._host, self._port, self._token, self._timeout)

    def _call(self, message: Message, timeout: timedelta) -> Message | None:
        if self._pid != os.getpid():  # a forked child: the connection and the mutex are the parent's
            self._mutex = Mutex()
            self._connect()
        if self._mutex.is_mine():  # a signal handler has interrupted a call, which goes on after this one
            return self._call_apart(message, timeout)
        with self._mutex:
            return self._connection.call(message, timeout)

    def _call_apart(self, message: Message, timeout: timedelta) -> Message | None:
        """Make one call over a new connection, which is closed after it."""
        connection = Connection(self._host, self._port, self._token, self._timeout)
        try:
            return connection.call(message, timeout)
        finally:
            connection.close()

    def _timed_out(self, message: Message, timeout: timedelta) -> DistStoreError:
        names = ", ".join(key.decode("utf-8", "surrogateescape") for key in message.fields)
        return DistStoreError(WAIT_TIMEOUT.format(ms=milliseconds(timeout), keys=names))

    def _wait_for_clients(self, world_size: int) -> None:
        try:
            self._ask(Kind.WAIT_COUNT, world_size, (_INIT_KEY,))
        except DistStoreError as error:
            joined = self._ask(Kind.ADD, 0, (_INIT_KEY,)).number
            seconds = round(self._timeout.total_seconds())
            raise DistStoreError(CLIENTS_TIMEOUT.format(s=seconds, joined=joined, size=world_size)) from error


_tenants: weakref.WeakValueDictionary[tuple[str, int], ForkedServer] = weakref.WeakValueDictionary()
"""Servers of this process that a second master may share, by host and port."""


def _server(host: str, port: int, multi_tenant: bool, listen_fd: int | None) -> ForkedServer:
    if not multi_tenant:
        return fork_server(host, port, listen_fd=listen_fd)
    server = _tenants.get((host, port))
    if server is None or not server.is_open:
        server = fork_server(host, port, listen_fd=listen_fd)
        _tenants[host, server.port] = server
    return server
