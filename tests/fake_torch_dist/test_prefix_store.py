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
        PrefixStore("a", {})  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        PrefixStore(None, bottom)  # type: ignore[arg-type]
