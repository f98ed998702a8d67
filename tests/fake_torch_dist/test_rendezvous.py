"""How ranks meet: addresses and their errors, and generations of one job."""

from __future__ import annotations

import os
import random
import selectors
import socket
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fake_torch_dist.errors import DistNetworkError, DistStoreError
from fake_torch_dist.generations import forget, join
from fake_torch_dist.rendezvous import find_store, register_rendezvous_handler, rendezvous
from fake_torch_dist.stores import FileStore, HashStore, PrefixStore, Store, TCPStore
from fake_torch_dist.stores.messages import Kind
from fake_torch_dist.stores.server import StoreServer
from fake_torch_dist.stores.sockets import listen

module = sys.modules["fake_torch_dist.rendezvous"]  # the package's attribute of that name is torch's function
SOON = timedelta(seconds=5)
SHORT = timedelta(milliseconds=300)
VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def resolve(
    method: str | None, rank: int, size: int, store: Store | None, timeout: timedelta
) -> tuple[Store, int, int]:
    """Find the store and join: a generation's store, rank, world size."""
    found, rank, size = find_store(method, rank, size, store, timeout)
    return join(found, rank, size, timeout).store, rank, size


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No launcher, and no server left of an earlier test."""
    ours = ("FAKE_TORCH_DIST_TOKEN", "FAKE_TORCH_DIST_STORE")
    for name in (*VARIABLES, "TORCHELASTIC_USE_AGENT_STORE", "TORCHELASTIC_RESTART_COUNT", *ours):
        monkeypatch.delenv(name, raising=False)
    yield
    for store in module._hosted.values():
        store.close()
    module._hosted.clear()


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The variables of a world of one."""
    values = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return values


def forked(body: Callable[[int], Any], rank: int) -> int:
    """Run ``body(rank)`` in a child; its process id. It ends with status 0 if ``body`` does not raise."""
    child = os.fork()
    if child:
        return child
    try:
        body(rank)
        os._exit(0)
    except BaseException as error:
        os.write(2, f"rank {rank}: {type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(1)


def serve_until_ended(server: StoreServer, children: list[int]) -> None:
    """Be the loop of a launcher until all ``children`` have ended, with status 0 and within ten seconds."""
    deadline = time.monotonic() + 10
    left = {os.pidfd_open(child): child for child in children}
    codes = []
    with selectors.DefaultSelector() as selector:
        for fd in (server.fileno(), *left):
            selector.register(fd, selectors.EVENT_READ)
        while left and time.monotonic() < deadline:
            for key, _ in selector.select(deadline - time.monotonic()):
                if key.fd == server.fileno():
                    server.on_readable()
                    continue
                selector.unregister(key.fd)
                os.close(key.fd)
                codes.append(os.waitpid(left.pop(key.fd), 0)[1])
    for fd, child in left.items():
        os.kill(child, 9)
        os.waitpid(child, 0)
        os.close(fd)
    assert codes == [0] * len(children)


def ranks(body: Callable[[int], Any], size: int) -> None:
    """Run ``body(rank)`` in ``size`` processes; all must end well within ten seconds."""
    children = [forked(body, rank) for rank in range(size)]
    deadline = time.monotonic() + 10
    codes = []
    for child in children:
        while not (done := os.waitpid(child, os.WNOHANG))[0]:
            if time.monotonic() > deadline:
                for other in children[len(codes) :]:
                    os.kill(other, 9)
                    os.waitpid(other, 0)
                pytest.fail("the ranks did not end")
            time.sleep(0.002)
        codes.append(done[1])
    assert codes == [0] * size


# -- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", VARIABLES)
def test_a_missing_variable(launched: dict[str, str], monkeypatch: pytest.MonkeyPatch, missing: str):
    for name in VARIABLES[VARIABLES.index(missing) :]:  # the first of them is named
        monkeypatch.delenv(name)
    text = rf"^Error initializing torch.distributed using env:// rendezvous: environment variable {missing} expected, "
    for call in (lambda: next(rendezvous("env://")), lambda: resolve(None, -1, -1, None, SHORT)):
        with pytest.raises(ValueError, match=text + "but not set$"):
            call()


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({"RANK": "x"}, r"^invalid literal for int\(\) with base 10: 'x'$"),
        ({"MASTER_PORT": "x"}, r"^invalid literal for int\(\) with base 10: 'x'$"),
        ({"MASTER_PORT": "99999"}, r"^port must have value from 0 to 65535 but was 99999\.$"),
        ({"WORLD_SIZE": "0"}, r"^TCPStore world size cannot be 0$"),
        ({"RANK": "1"}, r"^rank 1 of a world of 1: ranks are 0 to 0"),
        ({"RANK": "-1"}, r"^rank -1 of a world of 1: ranks are 0 to 0"),
        ({"WORLD_SIZE": "-4"}, r"^world_size = -4: a world has at least one rank"),
    ],
)
def test_wrong_variables_are_refused_at_once(
    launched: dict[str, str], monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], text: str
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    start = time.monotonic()
    with pytest.raises(ValueError, match=text):
        resolve("env://", -1, -1, None, SOON)
    assert time.monotonic() - start < 0.5


@pytest.mark.parametrize(
    ("url", "rank", "size", "error", "text"),
    [
        ("tcp://127.0.0.1:29500", -1, 2, ValueError, "using tcp:// rendezvous: rank parameter missing$"),
        ("tcp://127.0.0.1:29500", 0, -1, ValueError, "using tcp:// rendezvous: world size parameter missing$"),
        ("tcp://127.0.0.1", 0, 1, ValueError, "using tcp:// rendezvous: port number missing$"),
        ("tcp://127.0.0.1:29500", 3, 2, ValueError, "^rank 3 of a world of 2: ranks are 0 to 1"),
        ("file://", 0, 1, ValueError, "using file:// rendezvous: path missing$"),
        ("file:///tmp/x", -1, 2, ValueError, "using file:// rendezvous: rank parameter missing$"),
        ("file:///tmp/x", 0, -1, ValueError, "using file:// rendezvous: world size parameter missing$"),
        ("foo://x", 0, 1, RuntimeError, "^No rendezvous handler for foo://$"),
        (7, 0, 1, RuntimeError, "^`url` must be a string. <class 'int'>: 7$"),
        ("env://", "0", 1, RuntimeError, "^`rank` must be an integer. 0$"),
        ("env://", 0, 1.5, RuntimeError, "^`world_size` must be an integer. 1.5$"),
        ("tcp://h:1?rank=0", 0, 1, AssertionError, "has node-specific arguments"),
    ],
)
def test_wrong_addresses(url: Any, rank: Any, size: Any, error: type[Exception], text: str):
    with pytest.raises(error, match=text):
        next(rendezvous(url, rank, size))
    with pytest.raises(error, match=text):
        resolve(url, rank, size, None, SHORT)


@pytest.mark.parametrize(
    ("method", "rank", "size", "error", "text"),
    [
        ("env://", 0, 1, AssertionError, "^Cannot specify both init_method and store.$"),
        (None, 0, -1, AssertionError, "^world_size must be positive if using store$"),
        (None, -1, 1, AssertionError, "^rank must be non-negative if using store$"),
        (None, 2, 2, ValueError, "^rank 2 of a world of 2: ranks are 0 to 1"),
    ],
)
def test_a_store_and_wrong_arguments(method: Any, rank: int, size: int, error: type[Exception], text: str):
    with pytest.raises(error, match=text):
        resolve(method, rank, size, HashStore(), SHORT)


def test_nobody_listens(launched: dict[str, str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(
        DistNetworkError, match=r"The client socket has timed out after 300ms while trying to connect to"
    ):
        resolve(None, -1, -1, None, SHORT)


# -- torch's rendezvous -----------------------------------------------------------------------------------------------


def test_an_address_gives_a_store_once(launched: dict[str, str], tmp_path: Path):
    for url, rank, size in (
        ("env://", -1, -1),
        ("env://?rank=0&world_size=1", -1, -1),
        (f"tcp://127.0.0.1:{free_port()}", 0, 1),
        (f"file://{tmp_path}/f", 0, 1),
    ):
        met = rendezvous(url, rank, size, timeout=SOON)
        store, got_rank, got_size = next(met)
        store.set("a", "1")
        assert (store.get("a"), got_rank, got_size) == (b"1", 0, 1)
        with pytest.raises(RuntimeError, match=r"Unable to perform re-rendezvous using \w+:// method"):
            next(met)


def test_a_handler_of_the_users(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_handlers", dict(module._handlers))
    store = HashStore()

    def handler(url: str, **kwargs: Any) -> Iterator[tuple[Store, int, int]]:
        assert kwargs == {"timeout": SOON}
        yield store, 0, 1

    register_rendezvous_handler("mine", handler)
    with pytest.raises(RuntimeError, match=r"^Rendezvous handler for mine:// already registered$"):
        register_rendezvous_handler("mine", handler)
    with pytest.raises(RuntimeError, match=r"^Rendezvous handler for env:// already registered$"):
        register_rendezvous_handler("env", handler)
    assert next(rendezvous("mine://x", timeout=SOON)) == (store, 0, 1)
    met, rank, size = resolve("mine://x", -1, -1, None, SOON)
    assert (isinstance(met, PrefixStore), rank, size, store.timeout) == (True, 0, 1, SOON)


def test_arguments_go_before_the_environment(launched: dict[str, str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RANK", "5")
    monkeypatch.setenv("WORLD_SIZE", "9")
    _, rank, size = resolve(None, 0, 1, None, SOON)
    assert (rank, size) == (0, 1)


def test_with_a_launchers_store_rank_0_opens_no_server(launched: dict[str, str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    with pytest.raises(DistNetworkError, match="while trying to connect"):
        resolve(None, -1, -1, None, SHORT)
    launcher = TCPStore("127.0.0.1", 0, 1, True)
    monkeypatch.setenv("MASTER_PORT", str(launcher.port))
    for restart in ("0", "1"):  # the store outlives the processes
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", restart)
        store, _, _ = resolve(None, -1, -1, None, SOON)
        assert not store.check(["a"])
        store.set("a", "1")
    assert {key.split("/")[1] for key in launcher.list_keys()} == {"0", "1"}


def test_a_store_of_fake_torchrun_leaves_the_masters_port_alone(
    launched: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    """A loop of this process hosts the store, as the launcher's does; the ranks are its children."""
    size = 4
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "False")
    monkeypatch.setenv("FAKE_TORCH_DIST_TOKEN", "of this job")
    with StoreServer(listen("127.0.0.1", 0)) as server:
        monkeypatch.setenv("FAKE_TORCH_DIST_STORE", f"127.0.0.1:{server.port}")
        monkeypatch.setenv("WORLD_SIZE", str(size))

        def body(rank: int) -> None:
            monkeypatch.setenv("RANK", str(rank))
            for restart in ("0", "1"):
                monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", restart)
                store, _, _ = resolve(None, -1, -1, None, SOON)
                assert not store.check(["from 0"])
                store.barrier("checked", size, SOON)
                store.set(f"from {rank}", restart)
                assert [store.get(f"from {other}") for other in range(size)] == [restart.encode()] * size
            with socket.socket() as free:  # nobody has taken the port that the script may want
                if rank == 0:
                    free.bind((launched["MASTER_ADDR"], int(launched["MASTER_PORT"])))

        serve_until_ended(server, [forked(body, rank) for rank in range(size)])


@pytest.mark.parametrize("value", ["", "localhost", ":29400", "localhost:port"])
def test_a_launchers_store_that_is_no_address(launched: dict[str, str], monkeypatch: pytest.MonkeyPatch, value: str):
    monkeypatch.setenv("FAKE_TORCH_DIST_STORE", value)
    with pytest.raises(ValueError, match=rf"FAKE_TORCH_DIST_STORE = '{value}' is no host:port\."):
        resolve(None, -1, -1, None, SOON)


# -- generations ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["env", "tcp", "file", "store"])
def test_destroy_and_init_again_is_no_race(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    size, port = 4, free_port()

    def body(rank: int) -> None:
        late = random.Random(rank)
        if method == "env":
            for name, value in zip(VARIABLES, (str(rank), str(size), "127.0.0.1", str(port)), strict=True):
                monkeypatch.setenv(name, value)
        own = FileStore(str(tmp_path / "own"), size) if method == "store" else None
        url = {"env": None, "tcp": f"tcp://127.0.0.1:{port}", "file": f"file://{tmp_path}/f", "store": None}[method]
        for generation in range(10):
            if late.random() < 0.3:
                time.sleep(late.random() * 0.02)
            store, got, _ = resolve(url, rank, size, own, SOON)
            store.set(f"address of {got}", str(generation))
            for other in range(size):
                assert store.get(f"address of {other}") == str(generation).encode()
        if rank == 0:
            store.wait([f"end of {other}" for other in range(1, size)], SOON)
        else:
            store.set(f"end of {rank}", "")

    ranks(body, size)


def test_who_did_not_come_is_named():
    store = HashStore()
    for rank in (0, 2):
        with pytest.raises(
            DistStoreError, match=rf"^Timed out after 0 seconds waiting for clients\. {rank // 2 + 1}/4 "
        ):
            resolve(None, rank, 4, store, timedelta(milliseconds=50))
    with pytest.raises(DistStoreError) as caught:
        resolve(None, 2, 4, store, timedelta(milliseconds=50))
    assert str(caught.value) == (
        "Timed out after 0 seconds waiting for clients. 2/4 clients joined. Ranks that did not come: 1, 3. "
        "Ranks that came more than once: 2; do two processes have the same RANK?"
    )


def test_rank_0_alone(launched: dict[str, str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    text = r"^Timed out after 1 seconds waiting for clients\. 1/2 clients joined\. Ranks that did not come: 1\.$"
    with pytest.raises(DistStoreError, match=text):
        resolve(None, -1, -1, None, timedelta(seconds=1))


def test_worlds_of_different_size():
    store = HashStore()
    with pytest.raises(DistStoreError):
        resolve(None, 0, 2, store, timedelta(milliseconds=10))
    with pytest.raises(ValueError, match=r"^rank 1 came with a world size of 3, but another rank with 2$"):
        resolve(None, 1, 3, store, SOON)


def test_a_world_may_be_smaller_the_second_time():
    store = HashStore()
    for size in (1, 1):
        resolve(None, 0, size, store, SOON)
    found = [resolve(None, 0, 1, store, SOON)[0] for _ in range(3)]
    for number, one in enumerate(found):
        one.set("a", str(number))
    assert [one.get("a") for one in found] == [b"0", b"1", b"2"]


# -- what the ranks bring ---------------------------------------------------------------------------------------------


class Plain(Store):
    """A store of the user's, with the operations that it cannot do without."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.asked: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        if name in ("set", "get", "add", "check", "compare_set", "delete_key", "wait"):
            self.asked.append(name)
            return getattr(self._store, name)
        return super().__getattribute__(name)


@pytest.mark.parametrize("kind", ["tcp", "file", "users"])
def test_everybody_gets_what_all_have_brought(kind: str, tmp_path: Path):
    size = 4
    server = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)

    def store() -> Store:
        if kind == "file":
            return FileStore(str(tmp_path / "own"), size)
        made = TCPStore("127.0.0.1", server.port)
        return PrefixStore("of the user", made if kind == "tcp" else Plain(made))

    def body(rank: int) -> None:
        own = store()
        for turn in range(5):
            found = join(own, rank, size, SOON, b"%d brings %d" % (rank, turn))
            assert list(found.values) == [b"%d brings %d" % (other, turn) for other in range(size)]
            found.store.barrier("all have it", size, SOON)
            if rank == 0:
                forget(found)
            found.store.barrier("the end", size, SOON)

    ranks(body, size)
    if kind == "users":
        assert not [key for key in server.list_keys() if "value/" in key or "brought" in key]
    server.close()


def test_a_server_is_asked_once(monkeypatch: pytest.MonkeyPatch):
    asked: list[int] = []
    real = TCPStore._call
    monkeypatch.setattr(
        TCPStore, "_call", lambda self, message, timeout: asked.append(message.kind) or real(self, message, timeout)
    )
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    join(store, 0, 1, SOON)
    assert asked == [Kind.GATHER]
    with pytest.raises(DistStoreError, match=r"1/3 clients joined\. Ranks that did not come: 0, 2\.$"):
        join(store, 1, 3, SHORT)
    with pytest.raises(ValueError, match=r"^rank 0 came with a world size of 2, but another rank with 3$"):
        join(store, 0, 2, SHORT)
    store.close()
