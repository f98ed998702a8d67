"""A server that answers late is tested for torch's protocol by a second connection; a launcher's gets more time."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest

from fake_torch_dist.errors import DistNetworkError
from fake_torch_dist.launcher.environment_names import STORE
from fake_torch_dist.stores import connection
from fake_torch_dist.stores.connection import Connection


class AskedError(Exception):
    """Raised in place of a question in torch's protocol."""


def ask(*_: object) -> bool:
    raise AskedError


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a listener that accepts nothing, as a launcher that starts ranks."""
    monkeypatch.setattr(connection, "is_torch_store", ask)
    monkeypatch.setattr(connection, "_PROMPT_S", 0.01)
    monkeypatch.setattr(connection, "_PROMPT_OF_LAUNCHER_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def seconds_until_asked(address: str) -> float:
    host, _, port = address.rpartition(":")
    begin = time.monotonic()
    with pytest.raises(AskedError):
        Connection(host, int(port), b"", timedelta(seconds=60))
    return time.monotonic() - begin


def test_a_server_that_nobody_has_announced_is_asked_soon(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_PROMPT_OF_LAUNCHER_S", 60.0)
    monkeypatch.setenv(STORE, "127.0.0.1:1")
    assert seconds_until_asked(silent) < 30


def test_a_launchers_store_is_given_more_time(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STORE, silent)
    assert seconds_until_asked(silent) >= 0.5


@pytest.mark.parametrize("announced", [False, True])
def test_how_long_a_silent_listener_may_still_be_a_store(
    silent: str, monkeypatch: pytest.MonkeyPatch, announced: bool
) -> None:
    """A launcher's may be slow because a thousand ranks start; what nobody has announced may be another program."""
    monkeypatch.setattr(connection, "is_torch_store", lambda *_: False)
    monkeypatch.setattr(connection, "_SILENCE_S", 0.1)
    monkeypatch.setattr(connection, "_SILENCE_OF_LAUNCHER_S", 0.4)
    monkeypatch.setenv(STORE, silent if announced else "127.0.0.1:1")
    host, _, port = silent.rpartition(":")
    with pytest.raises(
        DistNetworkError, match="it has said nothing for 0.4 seconds" if announced else "for 0.1 seconds"
    ):
        Connection(host, int(port), b"", timedelta(seconds=60))
