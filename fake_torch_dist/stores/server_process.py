"""A ``StoreServer`` in a process of its own, which ends with its users."""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
import warnings
from contextlib import suppress
from typing import Final, NoReturn

from fake_torch_dist.stores.after_fork import keep_from_children
from fake_torch_dist.stores.authentication import job_token
from fake_torch_dist.stores.server import StoreServer
from fake_torch_dist.stores.sockets import listen, listen_for_job

_GROUP_SIGNALS: Final = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGPIPE", "SIGUSR1", "SIGUSR2")
"""Signals that terminals, launchers and schedulers send to whole groups; the server ignores them and ends with its
users."""
_ENDING_S: Final = 0.05
"""Time that a server without clients has to end, where this process has to reap it."""


class ForkedServer:
    """The parent's end of a server process.

    After this end is closed, or the parent has died, no client can connect, and the server ends when none is left.
    """

    def __init__(self, host: str, port: int, fd: int, child: int = 0) -> None:
        """``child``: pid of the server if this process has to reap it, else 0."""
        self.host = host
        self.port = port
        self._fd = fd
        self._child = child
        keep_from_children(self)

    @property
    def is_open(self) -> bool:
        """True while the server runs and this end is open; False in a forked child."""
        if self._fd < 0:
            return False
        pipe = select.poll()
        pipe.register(self._fd, 0)
        return not pipe.poll(0)

    def close(self) -> None:
        """Close the parent's end."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
            if self._child and os.getpid() == 1:  # a forked child closes it, too
                _reap_soon(self._child)

    def __del__(self) -> None:
        self.close()


def fork_server(host: str, port: int, token: bytes | None = None, listen_fd: int | None = None) -> ForkedServer:
    """Start a server process by forking, without exec, so that it shares memory with this process.

    It listens before this returns. It is not a child of this process (a child forks it), so no process has to wait for
    it; the first process of a container, which inherits such orphans, forks it directly and reaps it. Errors:
    DistNetworkError as ``listen``; NotImplementedError where processes cannot fork.
    """
    if not hasattr(os, "fork"):
        raise NotImplementedError(f"a TCPStore's server is a forked process, and {sys.platform} has no fork")
    token = job_token() if token is None else token
    is_init = os.getpid() == 1
    listener = listen_for_job(host, port, token) if listen_fd is None else listen(host, port, listen_fd)
    read_end, write_end = os.pipe()
    everything = signal.valid_signals()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, everything)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of fork with threads: the child uses none
            child = os.fork()
        if child == 0:
            _run(listener, read_end, token, orphaned=not is_init)
        if not is_init:
            with suppress(ChildProcessError):
                os.waitpid(child, 0)
    except BaseException:
        os.close(write_end)
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(read_end)
        bound: int = listener.getsockname()[1]
        listener.close()
    return ForkedServer(host, bound, write_end, child if is_init else 0)


_unreaped: Final[set[int]] = set()
"""Servers of closed handles that still had clients."""


def _reap_soon(child: int) -> None:
    """Reap a server that ends now, and those that have ended since their handles were closed."""
    with suppress(AttributeError, OSError):  # a system without pidfd, or a process that is reaped already
        end = os.pidfd_open(child)
        try:
            ending = select.poll()
            ending.register(end, select.POLLIN)
            ending.poll(1000 * _ENDING_S)
        finally:
            os.close(end)
    _unreaped.add(child)
    for pid in list(_unreaped):
        try:
            ended = os.waitpid(pid, os.WNOHANG)[0] == pid
        except ChildProcessError:
            ended = True
        if ended:
            _unreaped.discard(pid)


def _run(listener: socket.socket, parent_fd: int, token: bytes, *, orphaned: bool) -> NoReturn:
    """In the child: fork once more if the server is to be no child, serve, and never return into the parent's code."""
    status = 1
    try:
        if not orphaned or os.fork() == 0:
            _detach_from_parent({listener.fileno(), parent_fd})
            StoreServer(listener, token).serve(parent_fd)
        status = 0
    finally:
        os._exit(status)


def _detach_from_parent(kept: set[int]) -> None:
    """Close descriptors and remove signal handlers; finalizers of the parent's objects never run."""
    gc.disable()
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    for name in _GROUP_SIGNALS:
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        if standard not in kept:
            os.dup2(null, standard)
    _close_all_but(kept)
    os.chdir("/")
    with suppress(ImportError, OSError, ValueError):
        import resource  # not on every platform

        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with suppress(OSError), open("/proc/self/comm", "w") as name_of_process:
        name_of_process.write("dist-store")


def _close_all_but(kept: set[int]) -> None:
    """Close all descriptors but ``kept`` and the standard ones."""
    try:
        entries = os.listdir("/proc/self/fd" if sys.platform == "linux" else "/dev/fd")
    except OSError:  # no /proc
        ends = (*sorted(fd for fd in kept if fd > 2), os.sysconf("SC_OPEN_MAX"))
        for below, end in zip((2, *ends), ends, strict=False):
            os.closerange(below + 1, end)
        return
    for fd in map(int, entries):
        if fd > 2 and fd not in kept:
            with suppress(OSError):
                os.close(fd)
