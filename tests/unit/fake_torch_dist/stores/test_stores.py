"""Operations of all stores: values, queues, waiting, errors."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fake_torch_dist.errors import DistStoreError
from fake_torch_dist.stores import FileStore, HashStore, PrefixStore, QueueEmptyError, Store, TCPStore
from fake_torch_dist.stores.timeouts import default_store_timeout

SHORT = timedelta(milliseconds=60)
KINDS = ("hash", "file", "tcp", "prefix")
Make = Callable[[str], Store]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """``make(kind)``: a new store."""

    def made(kind: str) -> Store:
        match kind:
            case "hash":
                return HashStore()
            case "file":
                return FileStore(str(tmp_path / f"store-{time.monotonic_ns()}"), 1)
            case "tcp":
                return TCPStore("127.0.0.1", 0, 1, True)
        return PrefixStore("outer", PrefixStore("inner", HashStore()))

    return made


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, make: Make) -> Store:
    """One of every kind."""
    return make(request.param)


def test_values(store: Store):
    num_own = store.num_keys()
    store.set("a", "1")
    store.set("b", b"\0\xff")
    assert (store.get("a"), store.get("b"), store.get(b"a")) == (b"1", b"\0\xff", b"1")
    store.append("b", "x")
    store.append("new", b"\xfe")
    assert store.multi_get(["new", "b"]) == [b"\xfe", b"\0\xffx"]
    store.multi_set(["a", "c"], ["", b"2"])
    assert (store.get("a"), store.multi_get([]), store.check([])) == (b"", [], True)
    assert (store.num_keys() - num_own, sorted(store.list_keys())) == (4, ["a", "b", "c", "new"])
    assert (store.delete_key("a"), store.delete_key("a")) == (True, False)
    assert not store.check(["a", "b"])
    assert store.check(["b"])
    store.wait(["b", "c"])
    for name in ("", "ключ", "zero\0byte", "surrogate\udc80", "/a", "a/b"):
        store.set(name, "ö")
        assert store.get(name) == "ö".encode()
        assert name in store.list_keys()


def test_add_counts_in_decimal_text(store: Store):
    assert [store.add("n", 5), store.add("n", -7), store.add("n", True)] == [5, -2, -1]
    assert store.get("n") == b"-1"
    for text, sum_ in ((" 12", 13), ("-3 ", -2), ("+4", 5), ("", 1)):
        store.set("n", text)
        assert store.add("n", 1) == sum_


@pytest.mark.parametrize("value", ["v", "12abc", "1.5", "1_0", "٣", b"\xff", "9" * 5000])
def test_add_to_what_is_no_number_says_so_and_harms_nothing(store: Store, value: Any):
    store.set("k", value)
    with pytest.raises(ValueError, match=r"^add: the value of key '.*k' is b['\"].*, which is not a whole number$"):
        store.add("k", 1)
    assert store.get("k") == (value if isinstance(value, bytes) else value.encode())


def test_add_does_not_wrap_around(store: Store):
    store.add("n", 2**62)
    with pytest.raises(ValueError, match="would be 9223372036854775808, which needs more than 64 bits"):
        store.add("n", 2**62)
    assert store.add("n", 0) == 2**62


def test_compare_set(store: Store):
    assert store.compare_set("c", "expected", "v") == b"expected"
    assert not store.check(["c"])
    assert store.compare_set("c", "", "v") == b"v"
    assert store.compare_set("c", "", "w") == b"v"
    assert store.compare_set("c", "x", "w") == b"v"
    assert store.compare_set("c", b"v", b"\xff") == b"\xff" == store.get("c")


@pytest.mark.parametrize("kind", ["hash", "tcp", "prefix"])
def test_queues(make: Make, kind: str):
    store = make(kind)
    num_own = store.num_keys()
    assert store.queue_len("q") == 0
    store.queue_push("q", "1")
    store.queue_push("q", b"\xff")
    store.set("q", "the value is another thing")
    assert (store.queue_len("q"), store.num_keys() - num_own, store.check(["q"])) == (2, 1, True)
    store.delete_key("q")
    store.wait(["q"], SHORT)
    assert (store.queue_pop("q"), store.queue_pop("q", block=False), store.queue_len("q")) == (b"1", b"\xff", 0)
    with pytest.raises(QueueEmptyError, match=r"^queue is empty$"):
        store.queue_pop("q", False)
    store.set_timeout(SHORT)
    with pytest.raises(DistStoreError, match=r"(?i)^wait timeout"):
        store.queue_pop("q")


@pytest.mark.parametrize(
    ("kind", "get", "wait"),
    [
        ("hash", "Wait timeout after 60ms, keys: missing", "Wait timeout after 60ms, keys: a, missing"),
        ("file", "Timeout waiting for key: missing after 60 ms", "Wait timeout after 60ms, keys: a, missing"),
        ("tcp", "wait timeout after 60ms, keys: /missing", "wait timeout after 60ms, keys: /a, /missing"),
        (
            "prefix",
            "Wait timeout after 60ms, keys: inner/outer/missing",
            "Wait timeout after 60ms, keys: inner/outer/a",
        ),
    ],
)
def test_a_key_that_does_not_come(make: Make, kind: str, get: str, wait: str):
    store = make(kind)
    assert store.timeout == default_store_timeout == timedelta(seconds=300)
    store.set("a", "1")
    start = time.monotonic()
    with pytest.raises(DistStoreError, match=f"^{wait}"):
        store.wait(["a", "missing"], SHORT)
    store.set_timeout(SHORT)
    assert store.timeout == SHORT
    with pytest.raises(DistStoreError, match=f"^{get}$"):
        store.get("missing")
    assert 0.12 <= time.monotonic() - start < 10  # the default is 300
    with pytest.raises(DistStoreError):
        store.multi_get(["a", "missing"])
    assert store.get("a") == b"1"


@pytest.mark.parametrize("kind", ["hash", "file"])
def test_a_signal_handler_inside_a_call_gets_an_error_in_place_of_a_deadlock(make: Make, kind: str):
    store = make(kind)
    with store._mutex, pytest.raises(RuntimeError, match="a signal handler or a finalizer called"):
        store.set("a", "1")
    store.set("a", "2")
    assert store.get("a") == b"2"


def test_a_key_that_comes_wakes_who_waits(store: Store):
    other = store.clone()
    store.set("go", "0")
    late = threading.Timer(0.05, lambda: (other.set("b", "2"), other.set("a", "1")))
    start = time.monotonic()
    late.start()
    assert store.multi_get(["a", "b"]) == [b"1", b"2"]
    assert 0.04 < time.monotonic() - start < 10  # the default is 300
    late.join()


def test_a_clone_has_the_same_keys_and_time_out(store: Store):
    store.set_timeout(timedelta(seconds=7))
    store.set("a", "1")
    clone = store.clone()
    assert type(clone) is type(store)
    assert clone.get("a") == b"1"
    clone.set("b", "2")
    assert store.get("b") == b"2"
    if not isinstance(store, FileStore):  # torch's file forgets it, too
        assert clone.timeout == timedelta(seconds=7)


def test_a_barrier_opens_when_all_have_come(store: Store):
    store.barrier("alone", 1)
    with pytest.raises(DistStoreError):
        store.barrier("two", 2, SHORT)
    store.barrier("two", 2)


@pytest.mark.parametrize(
    "call",
    [
        lambda s: s.set("a", 1),
        lambda s: s.set(1, "a"),
        lambda s: s.set("a", None),
        lambda s: s.set("\ud800", "lone surrogate"),
        lambda s: s.get(3),
        lambda s: s.add("n", 1.5),
        lambda s: s.add("n", "1"),
        lambda s: s.add("n", 2**70),
        lambda s: s.wait("ab"),
        lambda s: s.wait(["a"], 3),
        lambda s: s.check("a"),
        lambda s: s.multi_get([1]),
        lambda s: s.set_timeout(3),
        lambda s: s.compare_set("a", 1, "b"),
    ],
)
def test_wrong_types(store: Store, call: Callable[[Store], Any]):
    store.set("a", "1")
    num_keys = store.num_keys()
    with pytest.raises(TypeError, match=r"^\w+\(\): incompatible function arguments"):
        call(store)
    assert store.num_keys() == num_keys


def test_more_keys_than_values(store: Store):
    with pytest.raises(DistStoreError, match="multiSet keys and values vectors must be of same size"):
        store.multi_set(["x", "y"], ["1"])
    assert not store.check(["x"])


def test_threads_do_not_lose_a_count(store: Store):
    def count(mine: Store) -> None:
        for _ in range(100):
            mine.add("n", 1)

    threads = [threading.Thread(target=count, args=(store,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get("n") == b"400"


def test_a_store_needs_no_thread_module():
    """Who waits in a HashStore sleeps in a queue; nothing of it starts a thread."""
    code = (
        "import fake_torch_dist.stores as s, datetime, threading\n"
        "h = s.HashStore(); h.set_timeout(datetime.timedelta(milliseconds=20))\n"
        "try: h.get('x')\n"
        "except RuntimeError: print(threading.active_count())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=20)
    assert done.stdout == "1\n", done.stderr
