"""``Store``: the operations of every store, and their contract.

Keys are text, values are bytes; both may hold anything, zero bytes included. A time-out of zero means none, as in
torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import NoReturn

from fake_torch_dist.errors import DistStoreError
from fake_torch_dist.stores.keys_and_values import Text, as_bytes
from fake_torch_dist.stores.timeouts import as_timeout, default_store_timeout

# torch 2.13.0
NO_QUEUES = "queue support is not implemented."  # NotImplementedError
PURE_VIRTUAL = 'Tried to call pure virtual function "::c10d::Store::{name}". Not implemented.'  # RuntimeError
NO_LIST = "listKeys support is not implemented."  # NotImplementedError
LENGTHS_DIFFER = "multiSet keys and values vectors must be of same size"  # DistStoreError


_NAMES_IN_TORCH = {"compare_set": "compareSet", "delete_key": "deleteKey", "num_keys": "getNumKeys"}
"""Names of methods in torch's C++, where they differ; error texts have them."""


class QueueEmptyError(DistStoreError):
    """``queue_pop(key, block=False)`` found nothing."""


class Store:
    """The base class of all stores; a class of the user's may define any part of it.

    A method that is not defined raises NotImplementedError, a RuntimeError like torch's. Errors in all stores:
    TypeError for a key or a value that is neither str nor bytes; DistStoreError when a key does not come within the
    timeout.
    """

    _timeout = default_store_timeout

    def _missing(self, name: str) -> NoReturn:
        in_torch = _NAMES_IN_TORCH.get(name, name)
        raise NotImplementedError(f"{PURE_VIRTUAL.format(name=in_torch)} {type(self).__name__} does not define {name}")

    def set(self, key: Text, value: Text) -> None:
        """Set the value of ``key``, replacing any."""
        self._missing("set")

    def get(self, key: Text) -> bytes:
        """The value of ``key``; waits for it up to the store's timeout."""
        self._missing("get")

    def add(self, key: Text, value: int) -> int:
        """Add ``value`` to the whole number under ``key`` (absent: 0), kept as decimal text, and return the sum.

        Errors: ValueError if the value of ``key`` is not a whole number, or if the sum needs more than 64 bits.
        """
        self._missing("add")

    def check(self, keys: Sequence[Text]) -> bool:
        """True if each of ``keys`` has a value or an entry in its queue. Never waits."""
        self._missing("check")

    def compare_set(self, key: Text, expected_value: Text, desired_value: Text) -> bytes:
        """Set ``key`` if its value is the expected one, or if it has none and "" is expected.

        Returns the value afterwards, or the expected value if there is none.
        """
        self._missing("compare_set")

    def delete_key(self, key: Text) -> bool:
        """Delete the value of ``key``; True if it had one. Its queue stays."""
        self._missing("delete_key")

    def num_keys(self) -> int:
        """Number of values; in a TCPStore or FileStore with one of its own among them, as in torch."""
        self._missing("num_keys")

    def wait(self, keys: Sequence[Text], timeout: timedelta | None = None) -> None:
        """Return when ``check(keys)`` is true. DistStoreError after ``timeout``, or after the store's."""
        self._missing("wait")

    def append(self, key: Text, value: Text) -> None:
        """Put ``value`` after the value of ``key``, which may be absent."""
        before, added = b"", as_bytes("append", "value", value)
        while (found := self.compare_set(key, before, before + added)) != before + added:
            before = found

    def multi_get(self, keys: Sequence[Text]) -> list[bytes]:
        """The values of ``keys``; waits for them as ``get`` does."""
        return [self.get(key) for key in keys]

    def multi_set(self, keys: Sequence[Text], values: Sequence[Text]) -> None:
        """Set every key to the value at the same place. DistStoreError if there are more of one than of the other."""
        if len(keys) != len(values):
            raise DistStoreError(LENGTHS_DIFFER)
        for key, value in zip(keys, values, strict=True):
            self.set(key, as_bytes("multi_set", "value", value))

    def list_keys(self) -> list[str]:
        """The keys that have values."""
        raise NotImplementedError(NO_LIST)

    def queue_push(self, key: Text, value: Text) -> None:
        """Put ``value`` at the end of the queue ``key``. A queue and a value may have the same key."""
        raise NotImplementedError(NO_QUEUES)

    def queue_pop(self, key: Text, block: bool = True) -> bytes:
        """Take the oldest value out of the queue; wait for one, or with ``block=False`` raise QueueEmptyError."""
        raise NotImplementedError(NO_QUEUES)

    def queue_len(self, key: Text) -> int:
        """Number of values in the queue."""
        raise NotImplementedError(NO_QUEUES)

    def barrier(self, key: Text, world_size: int, timeout: timedelta | None = None) -> None:
        """Return when ``world_size`` callers have called; one ``key`` serves one barrier."""
        name = as_bytes("barrier", "key", key)
        if self.add(name + b"/num_members", 1) == world_size:
            self.set(name + b"/last_member", "1")
        self.wait([name + b"/last_member"], self.timeout if timeout is None else timeout)

    def clone(self) -> Store:
        """Another store with the same keys, with a connection of its own if this one has one."""
        self._missing("clone")

    def has_extended_api(self) -> bool:
        """True if append, multi_get and multi_set are single operations."""
        return False

    @property
    def timeout(self) -> timedelta:
        """The longest wait of ``get`` and ``wait``."""
        return self._timeout

    def set_timeout(self, timeout: timedelta) -> None:
        """Change the longest wait of ``get`` and ``wait``."""
        self._timeout = as_timeout("set_timeout", timeout)
