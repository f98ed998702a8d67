"""Another user of this host, played by a forked process that gives up root. It checks nobody, and lies where it can."""

from __future__ import annotations

import encodings.idna  # noqa: F401  as below, for a host name that is looked up
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import fake_torch_dist.before_fork  # noqa: F401  the other user may not be able to read what is imported later
from fake_torch_dist.launcher.hosts import handshake
from fake_torch_dist.meeting import exchange as meeting
from fake_torch_dist.stores import connection, file_store, server
from fake_torch_dist.transports import peers

STRANGER = 65534
"""A user id without rights."""
DEADLINE_S = 30.0
needs_root = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root can become another user to play the attacker"
)


class Planted:
    """An object that makes a file when it is unpickled: what an attacker would do, done harmlessly."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.path, "w")


@contextmanager
def stranger(attack: Callable[[], object], user: int = STRANGER) -> Iterator[Callable[[], str]]:
    """Let ``attack`` run as another user; what is yielded waits for its outcome: its result, or its error, as text."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _attack(attack, user, writer)
    os.close(writer)
    text = bytearray()

    def outcome() -> str:
        while data := os.read(reader, 1 << 16):
            text.extend(data)
        return text.decode()

    try:
        yield outcome
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reader)


def _attack(attack: Callable[[], object], user: int, writer: int) -> None:
    """The child: never comes back."""
    try:
        signal.alarm(int(DEADLINE_S))
        _check_nobody()
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
        try:
            said = f"{attack()}"
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writer, said.encode())
    finally:
        os._exit(0)


def _check_nobody() -> None:
    """An attacker's own program has none of our checks."""
    for module in (connection, handshake, peers, server):
        module.foreign = lambda sock: ""
    meeting.foreign_listener = lambda host, port: ""
    file_store.FileStore._refuse_foreign = lambda self: None


def told(reader: int) -> bytes:
    """What a child writes when it is ready."""
    assert select.select([reader], [], [], DEADLINE_S)[0], f"the other process was not ready within {DEADLINE_S:g} s"
    return os.read(reader, 1 << 10)
