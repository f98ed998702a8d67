"""The client of a TCPStore: joining, errors with torch's texts, forked children."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import threading
import time
from datetime import timedelta
from typing import Any

import pytest

from fake_torch_dist.errors import DistNetworkError, DistStoreError
from fake_torch_dist.stores import HashStore, Store, TCPStore
from fake_torch_dist.stores.messages import Kind, Message
from tests.support.free_ports import free_port
from tests.support.processes import Children

SECOND = timedelta(seconds=1)
FAR_FROM_THE_DEFAULT_S = 10.0
"""A small part of the 300 s that a store waits by default; a loaded machine adds seconds to any other limit."""


def test_the_master_picks_a_port_and_counts_itself():
    store = TCPStore("127.0.0.1", 0, 1, True)
    assert isinstance(store, Store)
    assert (store.host, store.num_keys(), store.list_keys(), store.libuvBackend) == ("127.0.0.1", 1, [], False)
    assert 0 < store.port < 2**16
    client = TCPStore(host_name="localhost", port=store.port, timeout=SECOND)
    assert (client.host, client.port, client.timeout, client.num_keys()) == ("localhost", store.port, SECOND, 1)
    assert repr(client) == f"TCPStore('localhost', {store.port}, is_master=False)"


def test_a_port_in_use():
    store = TCPStore("127.0.0.1", 0, 1, True)
    with pytest.raises(
        DistNetworkError,
        match=r"^The server socket has failed to listen on any local network address\. "
        rf"port: {store.port}, useIpv6: false, code: -98, name: EADDRINUSE, message: address already in use",
    ):
        TCPStore("127.0.0.1", store.port, 1, True)


def test_the_port_is_free_again_when_all_have_left():
    store = TCPStore("127.0.0.1", 0, 1, True)
    port = store.port
    store.set("a", "1")
    store.close()
    deadline = time.monotonic() + FAR_FROM_THE_DEFAULT_S
    while True:
        try:
            again = TCPStore("127.0.0.1", port, 1, True)
            break
        except DistNetworkError:
            assert time.monotonic() < deadline
    assert not again.check(["a"])


def test_two_masters_of_one_process_share_a_server():
    port = free_port()
    first = TCPStore("127.0.0.1", port, 1, True, multi_tenant=True)
    second = TCPStore("127.0.0.1", port, 1, True, multi_tenant=True)
    first.set("a", "1")
    assert second.get("a") == b"1"
    first.close()
    assert second.clone().get("a") == b"1"


def test_a_listening_socket_can_be_given():
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    store = TCPStore("127.0.0.1", 0, 1, True, master_listen_fd=listener.detach())
    assert store.port == port
    assert TCPStore("127.0.0.1", port).num_keys() == 1


def test_clients_that_do_not_come():
    start = time.monotonic()
    with pytest.raises(DistStoreError, match=r"^Timed out after 1 seconds waiting for clients\. 1/3 clients joined\.$"):
        TCPStore("127.0.0.1", 0, 3, True, timeout=SECOND)
    assert 0.9 < time.monotonic() - start < FAR_FROM_THE_DEFAULT_S
    TCPStore("127.0.0.1", 0, 3, True, timeout=SECOND, wait_for_workers=False)


def test_the_master_waits_for_its_clients():
    port = free_port()
    clients: list[TCPStore] = []
    late = threading.Thread(target=lambda: clients.append(TCPStore("127.0.0.1", port, 2, timeout=5 * SECOND)))
    late.start()  # before anybody listens
    master = TCPStore("127.0.0.1", port, 2, True, timeout=5 * SECOND)
    late.join()
    clients[0].set("a", "1")
    assert master.get("a") == b"1"


def test_nobody_listens():
    port = free_port()
    start = time.monotonic()
    with pytest.raises(
        DistNetworkError,
        match=rf"^The client socket has timed out after 300ms while trying to connect to \(127\.0\.0\.1, {port}\)\.",
    ):
        TCPStore("127.0.0.1", port, 2, timeout=timedelta(milliseconds=300))
    assert time.monotonic() - start < FAR_FROM_THE_DEFAULT_S


def test_a_host_that_is_not_there():
    with pytest.raises(
        DistNetworkError, match=r"while trying to connect to \(no\.such\.host\.invalid, 7\)\. Last attempt"
    ):
        TCPStore("no.such.host.invalid", 7, timeout=timedelta(milliseconds=100))
    with pytest.raises(DistNetworkError, match=r"cannot listen on 'no\.such\.host\.invalid'"):
        TCPStore("no.such.host.invalid", 0, 1, True)


def test_somebody_listens_and_says_nothing():
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        pytest.raises(DistNetworkError, match=r"has timed out after 200ms.*Last attempt: .*does not greet"),
    ):
        TCPStore("127.0.0.1", other.getsockname()[1], timeout=timedelta(milliseconds=200))


def say_once(listener: socket.socket, words: bytes) -> None:
    """Accept whoever comes first, say something, and hang up."""
    with listener.accept()[0] as client:
        client.sendall(words)


@pytest.mark.parametrize(
    "says", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", b"\0\0\0\x05\0\0\0\0!"]
)
def test_another_program_that_answers_is_named_at_once(says: bytes):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        answer = threading.Thread(target=lambda: say_once(other, says))
        answer.start()
        start = time.monotonic()
        with pytest.raises(DistNetworkError, match=rf":{port} does not greet as a store .*: it answered"):
            TCPStore("127.0.0.1", port, timeout=timedelta(minutes=30))
        assert time.monotonic() - start < 20
        answer.join()


@pytest.mark.parametrize("closes", [False, True])
def test_torchs_store_is_named_at_once(closes: bool):
    """Its server waits for more, or closes the connection, when it is greeted by ours."""

    def serve() -> None:
        ours = other.accept()[0]
        if closes:
            ours.close()
        asked = other.accept()[0]
        kind, magic, ping, nonce = struct.unpack("<BIB4s", asked.recv(64))
        assert (kind, magic, ping) == (0, 0x3C85F7CE, 13)
        asked.sendall(nonce)
        asked.close()
        ours.close()

    with socket.create_server(("127.0.0.1", 0)) as other:
        serving = threading.Thread(target=serve)
        serving.start()
        with pytest.raises(DistNetworkError, match=r"is torch\.distributed's, .*fake-torchrun instead of torchrun"):
            TCPStore("127.0.0.1", other.getsockname()[1], timeout=timedelta(minutes=30))
        serving.join()


@pytest.mark.real
@pytest.mark.parametrize("libuv", [True, False])
def test_the_real_store_of_torch_is_recognised(libuv: bool):
    real = pytest.importorskip("torch.distributed", reason="compares with torch: pip install torch==2.13.0")
    server = real.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, use_libuv=libuv)
    with pytest.raises(DistNetworkError, match=r"is torch\.distributed's"):
        TCPStore("127.0.0.1", server.port, timeout=timedelta(minutes=30))


@pytest.mark.parametrize("days", [24, 30, 10_000, 400_000])
def test_time_outs_longer_than_poll_takes(days: int):
    limit = timedelta(days=days)
    server = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=limit)
    stores = [server, HashStore()]
    for store in stores:
        store.set_timeout(limit)
        threading.Timer(0.05, store.clone().set, ("late", "x")).start()
        store.wait(["late"], limit)
        assert store.get("late") == b"x"
    server.close()


@pytest.mark.parametrize(
    "arguments", [(3, 5), ("127.0.0.1", 99999), ("127.0.0.1", -1), ("127.0.0.1", "5"), ("127.0.0.1", 0, 1, True, 5)]
)
def test_wrong_arguments(arguments: tuple[Any, ...]):
    with pytest.raises(TypeError, match=r"^__init__\(\): incompatible"):
        TCPStore(*arguments)


def test_an_empty_world():
    with pytest.raises(ValueError, match=r"^TCPStore world size cannot be 0$"):
        TCPStore("127.0.0.1", 0, 0, True)


def test_who_has_another_token_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FAKE_TORCH_DIST_TOKEN", "the job's")
    store = TCPStore("127.0.0.1", 0, 1, True)
    for token in ("another's", None):
        if token is None:
            monkeypatch.delenv("FAKE_TORCH_DIST_TOKEN")
        else:
            monkeypatch.setenv("FAKE_TORCH_DIST_TOKEN", token)
        start = time.monotonic()
        with pytest.raises(DistNetworkError, match=rf"^the store at 127\.0\.0\.1:{store.port} refused the job's token"):
            TCPStore("127.0.0.1", store.port)
        assert time.monotonic() - start < FAR_FROM_THE_DEFAULT_S
    monkeypatch.setenv("FAKE_TORCH_DIST_TOKEN", "the job's")
    assert TCPStore("127.0.0.1", store.port).num_keys() == 1


def test_a_timeout_of_zero_is_none():
    store = TCPStore("127.0.0.1", 0, 1, True)
    store.set_timeout(timedelta(0))
    other = store.clone()
    late = threading.Timer(0.1, lambda: other.set("a", "1"))
    late.start()
    assert store.get("a") == b"1"
    late.join()


def test_big_values():
    store = TCPStore("127.0.0.1", 0, 1, True)
    value = os.urandom(8 << 20)
    store.set("big", value)
    assert store.clone().get("big") == value
    with pytest.raises(ValueError, match="too much for one message"):
        store.set("bigger", bytes(64 << 20))
    assert store.check(["big"])
    assert not store.check(["bigger"])


def test_a_sum_of_values_too_big_for_an_answer():
    store = TCPStore("127.0.0.1", 0, 1, True)
    store.set("half", bytes(40 << 20))
    with pytest.raises(ValueError, match="too much for one message"):
        store.multi_get(["half", "half"])
    assert store.add("n", 1) == 1


def test_what_came_while_nobody_waited_is_skipped():
    store = TCPStore("127.0.0.1", 0, 1, True)
    store.set("a", "stale")
    store._connection._send(Message(Kind.GET, 0, [b"/a"]))
    store._connection._send(Message(Kind.GET, 0, [b"/a"]))
    store.set("a", "new")
    assert store.get("a") == b"new"


def test_a_server_that_dies():
    store = TCPStore("127.0.0.1", 0, 1, True)
    assert store._server is not None
    store._connection._sock.shutdown(socket.SHUT_RDWR)
    with pytest.raises(DistNetworkError):
        store.get("a")
    with pytest.raises(DistNetworkError, match=r"^Broken pipe$"):
        store.set("a", "1")


def test_a_forked_child_has_a_connection_of_its_own():
    store = TCPStore("127.0.0.1", 0, 1, True)

    def add() -> None:
        for _ in range(50):
            store.add("n", 1)

    with Children() as children:
        for _ in range(3):
            children.fork(add)
        add()
        assert children.wait() == [0, 0, 0]
    assert store.get("n") == b"200"


def test_nothing_is_printed_and_nothing_warned_about():
    code = (
        "import sys, atexit; from fake_torch_dist.stores import TCPStore\n"
        "atexit.register(print, 'bye'); sys.stdout.write('once ')\n"
        "store = TCPStore('127.0.0.1', 0, 1, True); store.set('a', '1'); clone = store.clone()"
    )
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("once bye\n", "", 0)


@pytest.mark.real
def test_torchs_texts():
    """The sentences that ours begin with are torch's own."""
    torch = pytest.importorskip("torch.distributed")

    def said(make: type, error: type, *arguments: object, **keywords: object) -> str:
        with pytest.raises(error) as caught:
            make(*arguments, **keywords)
        return str(caught.value)

    theirs = torch.TCPStore("127.0.0.1", 0, 1, True)
    ours = TCPStore("127.0.0.1", 0, 1, True)
    in_use = said(torch.TCPStore, torch.DistNetworkError, "127.0.0.1", theirs.port, 1, True).replace(
        str(theirs.port), "P"
    )
    assert (
        said(TCPStore, DistNetworkError, "127.0.0.1", ours.port, 1, True)
        .replace(str(ours.port), "P")
        .startswith(in_use)
    )
    nobody = said(torch.TCPStore, torch.DistNetworkError, "127.0.0.1", 1, timeout=SECOND)
    assert said(TCPStore, DistNetworkError, "127.0.0.1", 1, timeout=SECOND).startswith(nobody)
    empty = said(torch.TCPStore, ValueError, "127.0.0.1", 0, 0, True)
    assert said(TCPStore, ValueError, "127.0.0.1", 0, 0, True) == empty
    for store in (theirs, ours):
        store.set_timeout(timedelta(milliseconds=50))
    for name, arguments in (("get", ["x"]), ("wait", [["x", "y"]]), ("queue_pop", ["q"]), ("queue_pop", ["q", False])):
        assert said(getattr(ours, name), DistStoreError, *arguments) == said(
            getattr(theirs, name), torch.DistStoreError, *arguments
        )


@pytest.mark.parametrize("listens", [False, True])
def test_a_socket_of_the_callers_serves_whether_it_listens_yet_or_not(listens):
    with socket.socket() as mine:
        mine.bind(("127.0.0.1", 0))
        if listens:
            mine.listen()
        port = mine.getsockname()[1]
        store = TCPStore("127.0.0.1", port, 1, True, timeout=timedelta(seconds=10), master_listen_fd=mine.detach())
    store.set("k", "v")
    assert store.get("k") == b"v"
    store.close()


def test_a_descriptor_that_is_no_socket(tmp_path):
    with open(tmp_path / "file", "w") as file, pytest.raises(DistNetworkError, match="failed to listen"):
        TCPStore("127.0.0.1", 0, 1, True, master_listen_fd=file.fileno())
