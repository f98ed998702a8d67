"""Stores of users', and prefixes before keys of any store."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fake_torch_dist.stores import HashStore, PrefixStore, Store
from fake_torch_dist.stores.timeouts import default_store_timeout

SHORT = timedelta(milliseconds=60)


class Mine(Store):
    """A user's store, with as little as possible."""

    def __init__(self) -> None:
        self.data: dict[Any, Any] = {}

    def set(self, key: Any, value: Any) -> None:
        self.data[key] = value

    def get(self, key: Any) -> bytes:
        return self.data[key]


def test_a_store_of_the_users():
    mine = Mine()
    prefixed = PrefixStore("p", mine)
    prefixed.set("k", "v")
    assert (mine.data, prefixed.get("k"), mine.timeout) == ({"p/k": b"v"}, b"v", default_store_timeout)
    mine.multi_set(["a", "b"], [b"1", b"2"])
    assert mine.multi_get(["b", "a"]) == [b"2", b"1"]
    for store in (mine, prefixed):
        with pytest.raises(
            RuntimeError, match=r'^Tried to call .* "::c10d::Store::add"\. Not implemented\. Mine does not'
        ):
            store.add("n", 1)
        with pytest.raises(NotImplementedError, match="queue support is not implemented"):
            store.queue_push("q", "1")
        assert not store.has_extended_api()


def test_prefixes_stack_and_share_a_time_out():
    bottom = HashStore()
    middle = PrefixStore("b", bottom)
    top = PrefixStore("a", middle)
    top.set("k", "v")
    bottom.set("other", "")
    assert (bottom.list_keys(), top.list_keys(), middle.list_keys()) == (["b/a/k", "other"], ["k"], ["a/k"])
    assert top.num_keys() == 2
    assert top.underlying_store is middle
    assert top._underlying_non_prefix_store is bottom
    top.set_timeout(SHORT)
    assert bottom.timeout == middle.timeout == SHORT
    assert top.has_extended_api()
    with pytest.raises(TypeError):
        PrefixStore("a", {})
    with pytest.raises(TypeError):
        PrefixStore(None, bottom)


class Comparing(Mine):
    """A user's store that knows compare_set, and takes bytes only."""

    def set(self, key: Any, value: Any) -> None:
        assert isinstance(value, bytes)
        super().set(key, value)

    def compare_set(self, key: Any, expected_value: Any, desired_value: Any) -> bytes:
        assert isinstance(expected_value, bytes) and isinstance(desired_value, bytes)
        if self.data.get(key, b"") == expected_value:
            self.data[key] = desired_value
        return self.data.get(key, expected_value)


class Extended(Mine):
    """A user's store with operations of its own for several keys."""

    def append(self, key: Any, value: Any) -> None:
        self.data[key] = ("appended", value)

    def multi_set(self, keys: Any, values: Any) -> None:
        self.data.update(zip(keys, values, strict=True))

    def has_extended_api(self) -> bool:
        return True


def test_what_a_users_store_lacks_is_made_of_what_it_has():
    mine = Comparing()
    prefixed = PrefixStore("p", mine)
    prefixed.append("word", "po")
    prefixed.append("word", b"tato")
    prefixed.multi_set(["a", "b"], ["1", b"2"])
    assert prefixed.multi_get(["a", "b", "word"]) == [b"1", b"2", b"potato"]
    assert prefixed.compare_set("a", "1", "3") == b"3"
    assert not prefixed.has_extended_api()


def test_a_users_store_gets_bytes_for_every_value():
    mine = Extended()
    prefixed = PrefixStore("p", mine)
    prefixed.append("word", "po")
    prefixed.multi_set(["a", "b"], ["1", b"2"])
    assert mine.data == {"p/word": ("appended", b"po"), "p/a": b"1", "p/b": b"2"}
    assert prefixed.has_extended_api()


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda store: store.append("k", "v"), r'"::c10d::Store::compareSet"\. Not implemented\. Bare does not'),
        (lambda store: store.multi_get(["k"]), "Not implemented\\."),
        (lambda store: store.multi_set(["k"], ["v"]), "Not implemented\\."),
        (lambda store: store.num_keys(), '"::c10d::Store::getNumKeys"'),
        (lambda store: store.list_keys(), "listKeys support is not implemented"),
    ],
)
def test_what_a_bare_store_says(call, text):
    class Bare(Store):
        pass

    for store in (Bare(), PrefixStore("p", Bare())):
        with pytest.raises(RuntimeError, match=text):
            call(store)
