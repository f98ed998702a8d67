"""Another user of this host, played by a forked process that gives up root. It checks nobody, and lies where it can."""

from __future__ import annotations

import encodings.idna  # noqa: F401  as below, for a host name that is looked up
import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

import fake_torch_dist.before_fork  # noqa: F401  the other user may not be able to read what is imported later
from fake_torch_dist.launcher.hosts import handshake
from fake_torch_dist.meeting import exchange as meeting
from fake_torch_dist.stores import connection, file_store, server
from fake_torch_dist.transports import peers
from tests.support.processes import Children

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
    with Children(DEADLINE_S) as children:
        child = children.fork(partial(_attack, attack, user), pipes=1)

        def outcome() -> str:
            children.wait()
            return child.outputs[0].decode()

        yield outcome


def _attack(attack: Callable[[], object], user: int, writer: int) -> None:
    """Run the attack in the child, and write its result or its error."""
    _check_nobody()
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
    try:
        said = f"{attack()}"
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
    os.write(writer, said.encode())


def _check_nobody() -> None:
    """An attacker's own program has none of our checks."""
    for module in (connection, handshake, peers, server):
        module.foreign = lambda sock: ""
    meeting.foreign_listener = lambda host, port: ""
    file_store.FileStore._refuse_foreign = lambda self: None


def told(reader: int) -> bytes:
    """Bytes that a child writes when it is ready."""
    assert select.select([reader], [], [], DEADLINE_S)[0], f"the other process was not ready within {DEADLINE_S:g} s"
    return os.read(reader, 1 << 10)
