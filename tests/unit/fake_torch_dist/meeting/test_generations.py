"""Ranks that meet in one store, again and again: nobody gets into another generation, and each brings something."""

from __future__ import annotations

import random
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fake_torch_dist.errors import DistStoreError
from fake_torch_dist.meeting.generations import forget, join
from fake_torch_dist.stores import FileStore, HashStore, PrefixStore, Store, TCPStore
from fake_torch_dist.stores.messages import Kind
from tests.support.free_ports import free_port
from tests.support.meeting import SHORT, SOON, VARIABLES, ranks, resolve

pytestmark = pytest.mark.usefixtures("no_launcher")


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
