"""Rendezvous of ranks: addresses, the variables of a launcher, and their errors."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fake_torch_dist.errors import DistNetworkError, DistStoreError
from fake_torch_dist.meeting.handlers import register_rendezvous_handler, rendezvous
from fake_torch_dist.stores import HashStore, PrefixStore, Store, TCPStore
from fake_torch_dist.stores.server import StoreServer
from fake_torch_dist.stores.sockets import listen
from tests.support.free_ports import free_port
from tests.support.meeting import SHORT, SOON, VARIABLES, resolve
from tests.support.processes import Children

module = sys.modules["fake_torch_dist.meeting.handlers"]
pytestmark = pytest.mark.usefixtures("no_launcher")


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The variables of a world of one."""
    values = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return values


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


def test_rank_0_alone(launched: dict[str, str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    text = r"^Timed out after 1 seconds waiting for clients\. 1/2 clients joined\. Ranks that did not come: 1\.$"
    with pytest.raises(DistStoreError, match=text):
        resolve(None, -1, -1, None, timedelta(seconds=1))


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

        with Children(deadline_s=10) as children:
            for rank in range(size):
                children.fork(partial(body, rank))
            children.watch(server.fileno(), server.on_readable)
            assert children.wait() == [0] * size


@pytest.mark.parametrize("value", ["", "localhost", ":29400", "localhost:port"])
def test_a_launchers_store_that_is_no_address(launched: dict[str, str], monkeypatch: pytest.MonkeyPatch, value: str):
    monkeypatch.setenv("FAKE_TORCH_DIST_STORE", value)
    with pytest.raises(ValueError, match=rf"FAKE_TORCH_DIST_STORE = '{value}' is no host:port\."):
        resolve(None, -1, -1, None, SOON)
