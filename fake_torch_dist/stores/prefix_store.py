"""``PrefixStore``: a part of another store, under a prefix.

What it does not do: lock for threads, if the other store is a class of the user's that blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from fake_torch_dist.stores.base import Store
from fake_torch_dist.stores.keys_and_values import Text, as_bytes, as_list_of_bytes, wrong_argument
from fake_torch_dist.stores.timeouts import as_timeout


class PrefixStore(Store):
    """Puts ``prefix/`` before every key and asks another store, whose timeout it has."""

    def __init__(self, prefix: str, store: Store) -> None:
        self._prefix = as_bytes("__init__", "prefix", prefix).decode("utf-8", "surrogateescape") + "/"
        if not isinstance(store, Store):
            wrong_argument("__init__", "store", store, "a Store")
        self._store = store

    @property
    def prefix(self) -> str:
        """Ours: the text that is put before every key."""
        return self._prefix

    @property
    def underlying_store(self) -> Store:
        """The store that is asked."""
        return self._store

    @property
    def _underlying_non_prefix_store(self) -> Store:
        store = self._store
        while isinstance(store, PrefixStore):
            store = store._store
        return store

    def _key(self, call: str, key: object) -> str:
        return self._prefix + as_bytes(call, "key", key).decode("utf-8", "surrogateescape")

    def _keys(self, call: str, keys: object) -> list[str]:
        return [self._prefix + key.decode("utf-8", "surrogateescape") for key in as_list_of_bytes(call, "keys", keys)]

    def set(self, key: Text, value: Text) -> None:
        self._store.set(self._key("set", key), as_bytes("set", "value", value))

    def get(self, key: Text) -> bytes:
        return self._store.get(self._key("get", key))

    def add(self, key: Text, value: int) -> int:
        return self._store.add(self._key("add", key), value)

    def check(self, keys: Sequence[Text]) -> bool:
        return self._store.check(self._keys("check", keys))

    def compare_set(self, key: Text, expected_value: Text, desired_value: Text) -> bytes:
        expected = as_bytes("compare_set", "expected_value", expected_value)
        desired = as_bytes("compare_set", "desired_value", desired_value)
        return self._store.compare_set(self._key("compare_set", key), expected, desired)

    def delete_key(self, key: Text) -> bool:
        return self._store.delete_key(self._key("delete_key", key))

    def num_keys(self) -> int:
        """Number of values in the whole underlying store, as in torch."""
        return self._store.num_keys()

    def wait(self, keys: Sequence[Text], timeout: timedelta | None = None) -> None:
        names = self._keys("wait", keys)
        if timeout is None:
            self._store.wait(names)
        else:
            self._store.wait(names, as_timeout("wait", timeout))

    def append(self, key: Text, value: Text) -> None:
        self._store.append(self._key("append", key), as_bytes("append", "value", value))

    def multi_get(self, keys: Sequence[Text]) -> list[bytes]:
        return self._store.multi_get(self._keys("multi_get", keys))

    def multi_set(self, keys: Sequence[Text], values: Sequence[Text]) -> None:
        self._store.multi_set(self._keys("multi_set", keys), as_list_of_bytes("multi_set", "values", values))

    def list_keys(self) -> list[str]:
        """The keys that have values and this prefix, without it."""
        return [key[len(self._prefix) :] for key in self._store.list_keys() if key.startswith(self._prefix)]

    def queue_push(self, key: Text, value: Text) -> None:
        self._store.queue_push(self._key("queue_push", key), value)

    def queue_pop(self, key: Text, block: bool = True) -> bytes:
        return self._store.queue_pop(self._key("queue_pop", key), block)

    def queue_len(self, key: Text) -> int:
        return self._store.queue_len(self._key("queue_len", key))

    def clone(self) -> PrefixStore:
        return PrefixStore(self._prefix[:-1], self._store.clone())

    def has_extended_api(self) -> bool:
        return self._store.has_extended_api()

    @property
    def timeout(self) -> timedelta:
        return self._store.timeout

    def set_timeout(self, timeout: timedelta) -> None:
        self._store.set_timeout(timeout)
