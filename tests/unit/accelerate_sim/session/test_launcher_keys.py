"""The keys that a launcher hands over, seen from the session that asks for them."""

from __future__ import annotations

import os
import socket

import pytest

from accelerate_sim.session.launcher_keys import LauncherKeys


@pytest.fixture
def name() -> str:
    return f"fake-torchrun-keys-test-{os.urandom(16).hex()}"


def test_a_launcher_that_has_gone_gives_no_keys(name: str) -> None:
    keys = LauncherKeys(name)
    assert not keys.hush()
    assert keys.fd == -1 and keys.pressed() == b""
    keys.restore()


def test_keys_come_as_long_as_the_connection_is_open(name: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as launcher:
        launcher.bind(f"\0{name}")
        launcher.listen()
        keys = LauncherKeys(name)
        for _ in range(2):  # a session gives the terminal back, and takes it again
            assert keys.hush() and keys.hush()
            connection, _ = launcher.accept()
            connection.sendall(b"+g")
            assert keys.fd >= 0 and keys.pressed() == b"+g"
            keys.restore()
            assert connection.recv(1) == b"", "the launcher sees that no more keys are wanted"
            connection.close()
        assert keys.hush()
        connection, _ = launcher.accept()
        connection.close()
        assert keys.pressed() == b"", "there can be no more"
        keys.restore()
