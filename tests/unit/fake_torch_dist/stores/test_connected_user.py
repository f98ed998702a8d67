"""Whose process is at the other end of a connection, as the kernel tells it."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from fake_torch_dist.stores import connected_user
from fake_torch_dist.stores.connected_user import OTHER_HOST, UNKNOWN_USER, foreign, foreign_listener, is_own
from tests.support.strangers import DEADLINE_S, STRANGER, needs_root, stranger

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel is asked in Linux's ways")


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(params=["netlink", "proc"])
def source(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Source of the answer; the other source is not there."""
    other = "_from_proc" if request.param == "netlink" else "_from_netlink"
    monkeypatch.setattr(connected_user, other, lambda local, remote: None)
    return str(request.param)


ADDRESSES = [
    ("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("127.1.2.3", "127.1.2.3"),
    *([("::1", "::1"), ("::", "::1"), ("::", "127.0.0.1")] if socket.has_ipv6 else []),
]  # fmt: skip


def listening(opened: ExitStack, host: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = host == "::"
    listener = opened.enter_context(socket.create_server((host, 0), family=family, dualstack_ipv6=both))
    listener.settimeout(DEADLINE_S)
    return listener


@pytest.mark.parametrize(("bound", "called"), ADDRESSES)
def test_a_process_of_this_user_is_known_from_both_ends(source, opened, bound, called):
    listener = listening(opened, bound)
    port = listener.getsockname()[1]
    client = opened.enter_context(socket.create_connection((called, port)))
    assert foreign(client) == "", "the listener counts before it has accepted"
    accepted = opened.enter_context(listener.accept()[0])
    assert (foreign(client), foreign(accepted), foreign_listener(called, port)) == ("", "", "")


def test_an_end_that_is_closed_is_nobodys(source, opened):
    listener = listening(opened, "127.0.0.1")
    client = socket.create_connection(listener.getsockname())
    accepted = opened.enter_context(listener.accept()[0])
    client.sendall(b"said before")
    client.close()
    assert foreign(accepted) == OTHER_HOST
    port = listener.getsockname()[1]
    listener.close()
    assert foreign_listener("127.0.0.1", port) == OTHER_HOST


def test_a_connection_that_is_over_is_nobodys(opened):
    listener = listening(opened, "127.0.0.1")
    client = opened.enter_context(socket.create_connection(listener.getsockname()))
    accepted = listener.accept()[0]
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    accepted.close()  # with a reset
    assert foreign(client)


def test_unix_sockets_tell_by_themselves():
    one, other = socket.socketpair()
    with one, other:
        assert foreign(one) == foreign(other) == ""


def test_where_nothing_can_be_asked_nobody_is_known(opened, monkeypatch):
    def unreadable(*_: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(connected_user, "_from_netlink", unreadable)
    monkeypatch.setattr(connected_user, "_from_proc", unreadable)
    listener = listening(opened, "127.0.0.1")
    client = opened.enter_context(socket.create_connection(listener.getsockname()))
    assert foreign(client) == foreign_listener(*listener.getsockname()) == UNKNOWN_USER


def test_the_user_that_stands_for_unmapped_users_is_believed_only_where_all_are_mapped(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: STRANGER)
    for mapped in (True, False):
        monkeypatch.setattr(connected_user, "_maps_all_users", lambda mapped=mapped: mapped)
        assert is_own(STRANGER) is mapped
    assert not is_own(0)


@needs_root
def test_another_user_is_named_from_both_ends(source, opened):
    listener = listening(opened, "127.0.0.1")
    address = listener.getsockname()
    theirs = listening(opened, "127.0.0.1")
    theirs_address = theirs.getsockname()
    theirs.close()

    def attack() -> str:
        with socket.create_server(theirs_address) as server, socket.create_connection(address) as client:
            client.sendall(b"up")
            with server.accept()[0] as accepted:
                accepted.recv(1)
        return "done"

    with stranger(attack) as outcome:
        accepted = opened.enter_context(listener.accept()[0])
        assert accepted.recv(2) == b"up"
        assert f"belongs to user {STRANGER}, and this process to user 0" in foreign(accepted)
        client = opened.enter_context(socket.create_connection(theirs_address))
        assert f"belongs to user {STRANGER}," in foreign(client)
        assert f"belongs to user {STRANGER}," in foreign_listener(*theirs_address)
        client.close()
        assert outcome() == "done"
    assert foreign(accepted), "an end that its owner has closed is shown as root's"


@needs_root
def test_another_user_of_a_unix_socket_is_named(opened):
    listener = opened.enter_context(socket.socket(socket.AF_UNIX))
    listener.bind("\0test-" + os.urandom(8).hex())
    listener.listen()
    listener.settimeout(DEADLINE_S)
    name = listener.getsockname()

    def attack() -> None:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(name)
            sock.recv(1)

    with stranger(attack):
        assert f"belongs to user {STRANGER}," in foreign(opened.enter_context(listener.accept()[0]))
